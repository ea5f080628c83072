//! A CloudFormation of our own: stacks that do what a script says, in the wire format of AWS; and a Parameter Store with
//! an image. The rest of the account is [`Account`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::account::{Account, OF_X86_64};
use crate::support::upstream::{Recorded, Upstream, Wire};

/// The events of a stack when a change set is executed, or when the stack is deleted.
#[derive(Clone, Debug)]
pub struct Script {
    /// Events in order: resource, status, reason.
    pub events: Vec<(&'static str, &'static str, &'static str)>,
    /// The last status.
    pub end: &'static str,
}

impl Script {
    pub fn good() -> Self {
        let events = vec![("Thing", "CREATE_IN_PROGRESS", ""), ("Thing", "CREATE_COMPLETE", "")];
        Self { events, end: "CREATE_COMPLETE" }
    }
}

/// A stack.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    pub id: String,
    pub status: String,
    pub parameters: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    pub protected: bool,
    pub tags: BTreeMap<String, String>,
    /// The image that it was made with.
    pub image: Option<String>,
    /// Resource, status, reason; the oldest first.
    pub events: Vec<(String, String, String)>,
    /// Logical name, type, physical name.
    pub resources: Vec<(String, String, String)>,
    /// Resources that were changed by hand.
    pub drifted: Vec<&'static str>,
    /// The events that are still to come.
    pending: Option<(Script, usize)>,
    /// The parameters that a rollback restores.
    before: BTreeMap<String, String>,
}

/// A problem of a change set: resource, place in the template, reason.
type Problem = (&'static str, &'static str, &'static str);

/// The state of the emulated account.
pub struct World {
    pub stacks: BTreeMap<String, Fake>,
    /// The script of an execution, by the stack's name; without one it succeeds.
    pub scripts: BTreeMap<String, Script>,
    /// The outputs after success, by the stack's name.
    pub outputs: BTreeMap<String, Vec<(&'static str, &'static str)>>,
    /// The changes in change sets of existing stacks; empty for no changes.
    pub changes: String,
    /// Why no change set can be made, and the problems in detail: resource, place in the template, problem.
    pub invalid: Option<(&'static str, Vec<Problem>)>,
    /// Refused: the operation, which call of it from now on, code of the error. An empty code: the connection breaks; `slow`: after a while.
    pub hiccups: Vec<(&'static str, usize, &'static str)>,
    /// An access key of the past.
    pub expired: String,
    /// The number of events in a page.
    pub page: usize,
    /// The value of every parameter of the Parameter Store, or the code of an error.
    pub image: Result<Option<&'static str>, &'static str>,
    /// The only architecture that has an image.
    pub only: Option<&'static str>,
    /// Types of resources that CloudFormation lacks here.
    pub without: Vec<&'static str>,
    pub account: Account,
    deleted: BTreeMap<String, Fake>,
    wishes: BTreeMap<String, (String, BTreeMap<String, String>)>,
    count: usize,
}

impl Default for World {
    fn default() -> Self {
        Self {
            stacks: BTreeMap::new(),
            scripts: BTreeMap::new(),
            outputs: BTreeMap::new(),
            changes: String::new(),
            invalid: None,
            hiccups: Vec::new(),
            expired: "nobody's".to_owned(),
            page: 100,
            image: Ok(Some("ami-0123456789abcdef0")),
            only: None,
            without: Vec::new(),
            account: Account::default(),
            deleted: BTreeMap::new(),
            wishes: BTreeMap::new(),
            count: 0,
        }
    }
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
            let header = |name: &str| {
                let found = request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let is_signed_for =
                |service: &str| header("authorization").contains(&format!("/us-east-1/{service}/aws4_request"));
            let mut world = inner.lock().unwrap();
            if header("x-amz-target") == "AmazonSSM.GetParameters" {
                assert!(is_signed_for("ssm"), "{request:?}");
                return match &world.image {
                    Ok(image) => {
                        let named =
                            serde_json::from_slice::<serde_json::Value>(&request.body).unwrap()["Names"][0].clone();
                        let name = named.as_str().unwrap();
                        let is_there = world.only.is_none_or(|only| name.ends_with(only));
                        let image = image.filter(|_| is_there);
                        let image = image.map(|image| {
                            if name.ends_with("x86_64") && image.starts_with("ami-") { OF_X86_64 } else { image }
                        });
                        let found =
                            image.map(|image| serde_json::json!({"Name": named, "Value": image, "Type": "String"}));
                        let missing = image.is_none().then_some(named);
                        let found: Vec<_> = found.into_iter().collect();
                        let missing: Vec<_> = missing.into_iter().collect();
                        wire.answer(
                            "200 OK",
                            serde_json::json!({"Parameters": found, "InvalidParameters": missing}).to_string(),
                        )
                    }
                    Err(code) => wire.answer("400 Bad Request", serde_json::json!({"__type": code}).to_string()),
                };
            }
            let authorization = header("authorization");
            if let Some(service) =
                authorization.split("/aws4_request").next().and_then(|scope| scope.rsplit('/').next())
                && authorization.contains("/aws4_request")
                && service != "cloudformation"
            {
                let (status, body) = world.account.answer(service, &header("x-amz-target"), &request.body);
                return wire.answer(status, body);
            }
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
            if !is_signed_for("cloudformation") {
                return wire.answer("403 Forbidden", refusal("MissingAuthenticationToken", "not signed"));
            }
            if header("authorization").contains(&world.expired) {
                let words = "The security token included in the request is expired";
                return wire.answer("403 Forbidden", refusal("ExpiredToken", words));
            }
            if let Some(code) = world.hiccup(&form["Action"]) {
                return match code {
                    "" => Err(wire.reset()),
                    "slow" => {
                        std::thread::sleep(std::time::Duration::from_secs(6));
                        Err(wire.reset())
                    }
                    code => wire.answer("400 Bad Request", refusal(code, "Rate exceeded")),
                };
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

    /// The operations that CloudFormation was asked for.
    pub fn forms(&self) -> Vec<BTreeMap<String, String>> {
        let requests = self.upstream.requests();
        let forms = requests.iter().map(|one| url::form_urlencoded::parse(&one.body).into_owned().collect());
        forms
            .filter(|form: &BTreeMap<String, String>| form.get("Version").is_some_and(|of| of == "2010-05-15"))
            .collect()
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
    /// Returns the error of this call, if any.
    fn hiccup(&mut self, operation: &str) -> Option<&'static str> {
        let (_, left, code) = self.hiccups.iter_mut().find(|(of, left, _)| *of == operation && *left > 0)?;
        *left -= 1;
        (*left == 0).then_some(*code)
    }

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
                let page = self.page;
                let (_, fake) = self.find(&name)?;
                let from = form.get("NextToken").map_or(0, |token| token.parse::<usize>().unwrap());
                let id = fake.id.clone();
                let all: Vec<String> = fake.events.iter().enumerate().rev().map(|(number, (resource, status, reason))| {
                    let reason = if reason.is_empty() { String::new() } else { format!("<ResourceStatusReason>{reason}</ResourceStatusReason>") };
                    format!("<member><EventId>{number}</EventId><StackId>{id}</StackId><LogicalResourceId>{resource}</LogicalResourceId><ResourceType>AWS::Test::Thing</ResourceType><Timestamp>2026-01-01T00:00:{number:02}.000Z</Timestamp><ResourceStatus>{status}</ResourceStatus>{reason}</member>")
                }).collect();
                let until = (from + page).min(all.len());
                let next = if until < all.len() { format!("<NextToken>{until}</NextToken>") } else { String::new() };
                Ok(format!("<StackEvents>{}</StackEvents>{next}", all[from..until].concat()))
            }
            "DescribeStackResources" => {
                let (_, fake) = self.find(&name)?;
                let status = if fake.status.starts_with("ROLLBACK") { "DELETE_SKIPPED" } else { "CREATE_COMPLETE" };
                let all: String = fake.resources.iter().map(|(logical, kind, physical)| format!("<member><LogicalResourceId>{logical}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId><ResourceType>{kind}</ResourceType><ResourceStatus>{status}</ResourceStatus></member>")).collect();
                Ok(format!("<StackResources>{all}</StackResources>"))
            }
            "CreateChangeSet" | "DescribeChangeSet" | "ExecuteChangeSet" => self.change_set(operation, form, &name),
            "DescribeEvents" => {
                assert_eq!(form["Filters.FailedEvents"], "true");
                assert!(self.wishes.contains_key(&form["ChangeSetName"]), "the change set is there");
                let (_, problems) = self.invalid.clone().unwrap();
                let event = |(resource, place, problem): Problem| {
                    format!(
                        "<member><EventType>VALIDATION_ERROR</EventType><LogicalResourceId>{resource}</LogicalResourceId><ValidationPath>{place}</ValidationPath><ValidationStatusReason>{problem}</ValidationStatusReason></member>"
                    )
                };
                Ok(format!(
                    "<OperationEvents>{}</OperationEvents>",
                    problems.into_iter().map(event).collect::<String>()
                ))
            }
            "DescribeType" if self.without.contains(&form["TypeName"].as_str()) => {
                Err(("TypeNotFoundException".into(), format!("The type '{}' cannot be found.", form["TypeName"])))
            }
            "DescribeType" => Ok("<Type>RESOURCE</Type>".into()),
            "DetectStackDrift" => Ok("<StackDriftDetectionId>d</StackDriftDetectionId>".into()),
            "DescribeStackDriftDetectionStatus" => Ok("<DetectionStatus>DETECTION_COMPLETE</DetectionStatus>".into()),
            "DescribeStackResourceDrifts" => {
                let (_, fake) = self.find(&name)?;
                let all = fake.drifted.iter().map(|one| format!("<member><LogicalResourceId>{one}</LogicalResourceId><StackResourceDriftStatus>MODIFIED</StackResourceDriftStatus></member>"));
                Ok(format!("<StackResourceDrifts>{}</StackResourceDrifts>", all.collect::<String>()))
            }
            "DeleteChangeSet" => {
                self.wishes.remove(&form["ChangeSetName"]);
                Ok(String::new())
            }
            "ContinueUpdateRollback" => {
                let script = Script { events: vec![("Thing", "UPDATE_COMPLETE", "")], end: "UPDATE_ROLLBACK_COMPLETE" };
                let script = self.scripts.get(&format!("continue {name}")).cloned().unwrap_or(script);
                let (_, fake) = self.find(&name)?;
                assert_eq!(fake.status, "UPDATE_ROLLBACK_FAILED");
                fake.status = "UPDATE_ROLLBACK_IN_PROGRESS".into();
                fake.pending = Some((script, 0));
                Ok(String::new())
            }
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
                    let (_, fake) = self.find(&name)?;
                    if !fake.status.ends_with("_COMPLETE") || fake.status == "ROLLBACK_COMPLETE" {
                        let words = format!("Stack:{} is in {} state and can not be updated.", fake.id, fake.status);
                        return Err(("ValidationError".into(), words));
                    }
                }
                let parameters = (1..)
                    .map_while(|number| {
                        let key = form.get(&format!("Parameters.member.{number}.ParameterKey"))?;
                        Some((key.clone(), form[&format!("Parameters.member.{number}.ParameterValue")].clone()))
                    })
                    .collect();
                self.find(&name)?.1.tags = (1..)
                    .map_while(|number| {
                        let key = form.get(&format!("Tags.member.{number}.Key"))?;
                        Some((key.clone(), form[&format!("Tags.member.{number}.Value")].clone()))
                    })
                    .collect();
                let id = format!("arn:aws:cloudformation:us-east-1:123456789012:changeSet/{}/1", form["ChangeSetName"]);
                self.wishes.insert(id.clone(), (name, parameters));
                Ok(format!("<Id>{id}</Id>"))
            }
            "DescribeChangeSet" if self.invalid.is_some() => {
                let (reason, _) = self.invalid.clone().unwrap();
                Ok(format!("<Status>FAILED</Status><StatusReason>{reason}</StatusReason>"))
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
                let image = self.image.ok().flatten().map(ToOwned::to_owned);
                let mut script = self.scripts.get(&name).cloned().unwrap_or_else(Script::good);
                let outputs = self.outputs.get(&name).cloned().unwrap_or_default();
                let fake = self.stacks.get_mut(&name).unwrap();
                let is_new = fake.status == "REVIEW_IN_PROGRESS";
                if !is_new && script.end == "CREATE_COMPLETE" {
                    script.end = "UPDATE_COMPLETE";
                }
                fake.status = if is_new { "CREATE_IN_PROGRESS" } else { "UPDATE_IN_PROGRESS" }.into();
                fake.image = image;
                fake.before = std::mem::replace(&mut fake.parameters, parameters);
                fake.outputs = outputs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
                fake.pending = Some((script, 0));
                Ok(String::new())
            }
        }
    }

    /// Returns a stack; a deleted one is found only by its id.
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
                // Nameless: this time nothing has happened.
                if !resource.is_empty() {
                    self.events.push((resource.into(), status.into(), reason.into()));
                }
                self.pending = Some((script, at + 1));
            } else {
                self.status = script.end.into();
                if script.end.starts_with("UPDATE_ROLLBACK") {
                    self.parameters = self.before.clone();
                }
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
        let mut parameters = list(&self.parameters, "Parameter");
        if let (Some(image), Some(name)) = (&self.image, self.parameters.get("AmiParameter")) {
            let value = format!("<ParameterValue>{name}</ParameterValue>");
            parameters = parameters.replace(&value, &format!("{value}<ResolvedValue>{image}</ResolvedValue>"));
        }
        let tags =
            self.tags.iter().map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"));
        format!(
            "<StackName>{name}</StackName><StackId>{}</StackId><StackStatus>{}</StackStatus><EnableTerminationProtection>{}</EnableTerminationProtection><Outputs>{}</Outputs><Parameters>{}</Parameters><Tags>{}</Tags>",
            self.id,
            self.status,
            self.protected,
            list(&self.outputs, "Output"),
            parameters,
            tags.collect::<String>()
        )
    }
}
