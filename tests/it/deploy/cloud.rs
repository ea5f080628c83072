//! A CloudFormation of our own: stacks that do what a script says, in the wire format of AWS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::support::upstream::{Recorded, Upstream, Wire};

/// What happens to a stack when a change set is executed, or when it is deleted.
#[derive(Clone, Debug)]
pub struct Script {
    /// Events in order: resource, status, reason.
    pub events: Vec<(&'static str, &'static str, &'static str)>,
    /// How it ends.
    pub end: &'static str,
}

impl Script {
    pub fn good() -> Self {
        let events = vec![("Thing", "CREATE_IN_PROGRESS", ""), ("Thing", "CREATE_COMPLETE", "")];
        Self { events, end: "CREATE_COMPLETE" }
    }
}

/// A stack, as it is.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    pub id: String,
    pub status: String,
    pub parameters: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    pub protected: bool,
    /// Resource, status, reason; the oldest first.
    pub events: Vec<(String, String, String)>,
    /// Logical name, type, physical name.
    pub resources: Vec<(String, String, String)>,
    /// Resources that somebody has changed by hand.
    pub drifted: Vec<&'static str>,
    /// What is still to happen.
    pending: Option<(Script, usize)>,
}

/// Everything there is.
#[derive(Default)]
pub struct World {
    pub stacks: BTreeMap<String, Fake>,
    /// By the stack's name: what an execution does; else it succeeds.
    pub scripts: BTreeMap<String, Script>,
    /// By the stack's name: the outputs that it has after success.
    pub outputs: BTreeMap<String, Vec<(&'static str, &'static str)>>,
    /// What change sets of existing stacks say; none of them: no changes.
    pub changes: String,
    /// Refused before they succeed: code of the error, how often.
    pub refusals: (String, usize),
    deleted: BTreeMap<String, Fake>,
    wishes: BTreeMap<String, (String, BTreeMap<String, String>)>,
    count: usize,
}

/// The server.
pub struct Cloud {
    pub upstream: Upstream,
    world: Arc<Mutex<World>>,
}

impl Cloud {
    pub fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let inner = Arc::clone(&world);
        let upstream = Upstream::plain(move |request: &Recorded, wire: &mut Wire| {
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
            let signed = request.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("authorization") && value.contains("/us-east-1/cloudformation/aws4_request")
            });
            let mut world = inner.lock().unwrap();
            if !signed {
                return wire.answer("403 Forbidden", refusal("MissingAuthenticationToken", "not signed"));
            }
            if world.refusals.1 > 0 {
                world.refusals.1 -= 1;
                let code = world.refusals.0.clone();
                return wire.answer("400 Bad Request", refusal(&code, "Rate exceeded"));
            }
            let operation = form["Action"].clone();
            match world.answer(&operation, &form) {
                Ok(inner) => {
                    let body = format!(
                        "<{operation}Response xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><{operation}Result>{inner}</{operation}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
                    );
                    wire.answer("200 OK", body)
                }
                Err((code, message)) => wire.answer("400 Bad Request", refusal(&code, &message)),
            }
        });
        Self { upstream, world }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// What was asked.
    pub fn forms(&self) -> Vec<BTreeMap<String, String>> {
        let requests = self.upstream.requests();
        requests.iter().map(|one| url::form_urlencoded::parse(&one.body).into_owned().collect()).collect()
    }

    /// The operations that were asked for, but for those that only look.
    pub fn acts(&self) -> Vec<String> {
        let acts = self.forms().into_iter().map(|form| form["Action"].clone());
        acts.filter(|operation| !operation.starts_with("Describe")).collect()
    }
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    )
}

fn change(action: &str, kind: &str) -> String {
    format!(
        "<member><Type>Resource</Type><ResourceChange><Action>{action}</Action><LogicalResourceId>Thing</LogicalResourceId><ResourceType>{kind}</ResourceType></ResourceChange></member>"
    )
}

type Answer = Result<String, (String, String)>;

impl World {
    /// A stack that is there.
    pub fn has(&mut self, name: &str, status: &str, outputs: &[(&str, &str)]) -> &mut Fake {
        self.count += 1;
        let id = format!("arn:aws:cloudformation:us-east-1:123456789012:stack/{name}/{}", self.count);
        let outputs = outputs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let events = vec![(name.to_owned(), status.to_owned(), String::new())];
        let fake = Fake { id, status: status.to_owned(), outputs, events, ..Fake::default() };
        self.stacks.entry(name.to_owned()).insert_entry(fake).into_mut()
    }

    fn find(&mut self, name: &str) -> Result<(String, &mut Fake), (String, String)> {
        let missing = ("ValidationError".to_owned(), format!("Stack with id {name} does not exist"));
        if let Some(found) =
            self.stacks.iter().find(|(key, fake)| *key == name || fake.id == name).map(|(key, _)| key.clone())
        {
            return Ok((found.clone(), self.stacks.get_mut(&found).unwrap()));
        }
        self.deleted.get_mut(name).map(|fake| (String::new(), fake)).ok_or(missing)
    }

    fn answer(&mut self, operation: &str, form: &BTreeMap<String, String>) -> Answer {
        let name = form.get("StackName").cloned().unwrap_or_default();
        match operation {
            "DescribeStacks" => {
                let (_, fake) = self.find(&name)?;
                fake.advance();
                let xml = format!("<Stacks><member>{}</member></Stacks>", fake.xml(&name));
                self.bury();
                Ok(xml)
            }
            "DescribeStackEvents" => {
                let (_, fake) = self.find(&name)?;
                let events: String = fake.events.iter().enumerate().rev().map(|(number, (resource, status, reason))| {
                    let reason = if reason.is_empty() { String::new() } else { format!("<ResourceStatusReason>{reason}</ResourceStatusReason>") };
                    format!("<member><EventId>{number}</EventId><StackId>{}</StackId><LogicalResourceId>{resource}</LogicalResourceId><ResourceType>AWS::Test::Thing</ResourceType><Timestamp>2026-01-01T00:00:{number:02}.000Z</Timestamp><ResourceStatus>{status}</ResourceStatus>{reason}</member>", fake.id)
                }).collect();
                Ok(format!("<StackEvents>{events}</StackEvents>"))
            }
            "DescribeStackResources" => {
                let (_, fake) = self.find(&name)?;
                let all: String = fake.resources.iter().map(|(logical, kind, physical)| format!("<member><LogicalResourceId>{logical}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId><ResourceType>{kind}</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>")).collect();
                Ok(format!("<StackResources>{all}</StackResources>"))
            }
            "CreateChangeSet" | "DescribeChangeSet" | "ExecuteChangeSet" => self.change_set(operation, form, &name),
            "DetectStackDrift" => Ok("<StackDriftDetectionId>d</StackDriftDetectionId>".into()),
            "DescribeStackDriftDetectionStatus" => Ok("<DetectionStatus>DETECTION_COMPLETE</DetectionStatus>".into()),
            "DescribeStackResourceDrifts" => {
                let (_, fake) = self.find(&name)?;
                let all = fake.drifted.iter().map(|one| format!("<member><LogicalResourceId>{one}</LogicalResourceId><StackResourceDriftStatus>MODIFIED</StackResourceDriftStatus></member>"));
                Ok(format!("<StackResourceDrifts>{}</StackResourceDrifts>", all.collect::<String>()))
            }
            "DeleteChangeSet" => Ok(String::new()),
            "UpdateTerminationProtection" => {
                self.find(&name)?.1.protected = form["EnableTerminationProtection"] == "true";
                Ok(String::new())
            }
            "DeleteStack" => {
                let (_, fake) = self.find(&name)?;
                if fake.protected {
                    return Err((
                        "ValidationError".into(),
                        format!("Stack [{name}] cannot be deleted while TerminationProtection is enabled"),
                    ));
                }
                fake.status = "DELETE_IN_PROGRESS".into();
                let script = Script { events: vec![("Thing", "DELETE_COMPLETE", "")], end: "DELETE_COMPLETE" };
                let script = self.scripts.get(&format!("delete {name}")).cloned().unwrap_or(script);
                self.find(&name)?.1.pending = Some((script, 0));
                Ok(String::new())
            }
            other => Err(("InvalidAction".into(), format!("no {other}"))),
        }
    }

    fn change_set(&mut self, operation: &str, form: &BTreeMap<String, String>, name: &str) -> Answer {
        let name = name.to_owned();
        match operation {
            "CreateChangeSet" => {
                if form["ChangeSetType"] == "CREATE" {
                    if self.stacks.contains_key(&name) {
                        return Err(("ValidationError".into(), format!("Stack {name} already exists")));
                    }
                    self.has(&name, "REVIEW_IN_PROGRESS", &[]);
                } else {
                    self.find(&name)?;
                }
                let parameters = (1..)
                    .map_while(|number| {
                        let key = form.get(&format!("Parameters.member.{number}.ParameterKey"))?;
                        Some((key.clone(), form[&format!("Parameters.member.{number}.ParameterValue")].clone()))
                    })
                    .collect();
                let id = format!("arn:aws:cloudformation:us-east-1:123456789012:changeSet/{}/1", form["ChangeSetName"]);
                self.wishes.insert(id.clone(), (name, parameters));
                Ok(format!("<Id>{id}</Id>"))
            }
            "DescribeChangeSet" => {
                let (name, parameters) = self.wishes[&form["ChangeSetName"]].clone();
                let is_new = self.stacks[&name].status == "REVIEW_IN_PROGRESS";
                let changes = if is_new {
                    change("Add", "AWS::IAM::Role")
                } else if parameters == self.stacks[&name].parameters {
                    self.changes.clone()
                } else {
                    change("Modify", "AWS::EC2::VPC")
                };
                if changes.is_empty() {
                    return Ok("<Status>FAILED</Status><StatusReason>The submitted information didn't contain changes. Submit different information to create a change set.</StatusReason>".into());
                }
                Ok(format!(
                    "<Status>CREATE_COMPLETE</Status><ExecutionStatus>AVAILABLE</ExecutionStatus><Changes>{changes}</Changes>"
                ))
            }
            _ => {
                let (name, parameters) = self.wishes[&form["ChangeSetName"]].clone();
                let mut script = self.scripts.get(&name).cloned().unwrap_or_else(Script::good);
                let outputs = self.outputs.get(&name).cloned().unwrap_or_default();
                let fake = self.stacks.get_mut(&name).unwrap();
                let is_new = fake.status == "REVIEW_IN_PROGRESS";
                if !is_new && script.end == "CREATE_COMPLETE" {
                    script.end = "UPDATE_COMPLETE";
                }
                fake.status = if is_new { "CREATE_IN_PROGRESS" } else { "UPDATE_IN_PROGRESS" }.into();
                fake.parameters = parameters;
                fake.outputs = outputs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
                fake.pending = Some((script, 0));
                Ok(String::new())
            }
        }
    }

    /// What is deleted is found by its id alone.
    fn bury(&mut self) {
        let gone: Vec<String> = self
            .stacks
            .iter()
            .filter(|(_, fake)| fake.status == "DELETE_COMPLETE")
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            let fake = self.stacks.remove(&name).unwrap();
            self.deleted.insert(fake.id.clone(), fake);
        }
    }
}

impl Fake {
    /// All that is to happen, happens between two looks.
    fn advance(&mut self) {
        if let Some((script, at)) = self.pending.take() {
            if at < script.events.len() {
                let (resource, status, reason) = script.events[at];
                self.events.push((resource.into(), status.into(), reason.into()));
                self.pending = Some((script, at + 1));
            } else {
                self.status = script.end.into();
            }
        }
    }

    fn xml(&self, name: &str) -> String {
        let list = |items: &BTreeMap<String, String>, what: &str| -> String {
            items
                .iter()
                .map(|(key, value)| {
                    format!("<member><{what}Key>{key}</{what}Key><{what}Value>{value}</{what}Value></member>")
                })
                .collect()
        };
        format!(
            "<StackName>{name}</StackName><StackId>{}</StackId><StackStatus>{}</StackStatus><EnableTerminationProtection>{}</EnableTerminationProtection><Outputs>{}</Outputs><Parameters>{}</Parameters><Tags/>",
            self.id,
            self.status,
            self.protected,
            list(&self.outputs, "Output"),
            list(&self.parameters, "Parameter")
        )
    }
}
