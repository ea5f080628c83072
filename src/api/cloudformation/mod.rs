//! CloudFormation, as far as `deploy` needs it, in the Query protocol.

mod answers;
mod call;
mod error;

use std::time::Duration;

pub use answers::{Change, ChangeSet, Event, Pairs, Resource, Stack};
pub use error::CloudFormationError;

use super::Transport;
use super::xml::Element;
use crate::aws::credentials::Current;
use crate::http::client::Endpoint;

/// Where an answer names its next page, and a question asks for it.
const NEXT: &str = "NextToken";

/// Signed calls of one region.
pub struct CloudFormation<'a> {
    /// How it is connected to.
    pub transport: &'a Transport,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Of the signatures.
    pub region: &'a str,
    /// Who asks.
    pub credentials: &'a Current,
    /// Hears of what takes long.
    pub delayed: &'a dyn Fn(&Delay<'_>),
}

/// Why there is no answer yet.
pub enum Delay<'a> {
    /// AWS has not answered for some time.
    Silence {
        /// What was asked.
        operation: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// It is asked again, since that may help.
    Repetition {
        /// What was asked.
        operation: &'static str,
        /// What came instead of an answer.
        error: &'a CloudFormationError,
        /// After how long it is asked again.
        wait: Duration,
        /// The how-manieth attempt that will be.
        attempt: u32,
        /// Of how many at most.
        of: u32,
    },
}

/// What a change set is made of.
pub struct Wish<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// The change set's name.
    pub name: &'a str,
    /// Whether there is no stack of that name yet.
    pub is_new: bool,
    /// The template's text; the one that the stack has, without it.
    pub template: Option<&'a str>,
    /// Values of its parameters.
    pub parameters: &'a Pairs,
    /// Tags of the stack, and of what is in it.
    pub tags: &'a Pairs,
}

type Result<T> = std::result::Result<T, CloudFormationError>;

impl CloudFormation<'_> {
    /// A stack by its name or ARN; nothing if there is none.
    ///
    /// # Errors
    /// [`CloudFormationError`], as for all of these.
    pub async fn stack(&self, name: &str) -> Result<Option<Stack>> {
        match self.ask("DescribeStacks", &[("StackName", name)]).await {
            Ok(found) => Ok(found.members("Stacks").next().map(Stack::of)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets CloudFormation compute what a template and its parameters would change; the ARN of that.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn create_change_set(&self, wish: &Wish<'_>) -> Result<String> {
        let mut lists = Vec::new();
        for (number, (key, text)) in (1..).zip(wish.parameters) {
            lists.push((format!("Parameters.member.{number}.ParameterKey"), key));
            lists.push((format!("Parameters.member.{number}.ParameterValue"), text));
        }
        for (number, (key, text)) in (1..).zip(wish.tags) {
            lists.push((format!("Tags.member.{number}.Key"), key));
            lists.push((format!("Tags.member.{number}.Value"), text));
        }
        let mut given = vec![
            ("StackName", wish.stack),
            ("ChangeSetName", wish.name),
            ("ChangeSetType", if wish.is_new { "CREATE" } else { "UPDATE" }),
            ("Capabilities.member.1", "CAPABILITY_IAM"),
            // A second one with the same token is the same one.
            ("ClientToken", wish.name),
            wish.template.map_or(("UsePreviousTemplate", "true"), |template| ("TemplateBody", template)),
        ];
        given.extend(lists.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        Ok(self.ask("CreateChangeSet", &given).await?.text("Id"))
    }

    /// A change set by its ARN, with all of its changes.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn change_set(&self, id: &str) -> Result<ChangeSet> {
        let mut set = ChangeSet::default();
        let mut next = None;
        loop {
            let page = self.page("DescribeChangeSet", ("ChangeSetName", id), next.as_deref()).await?;
            (set.status, set.reason) = (page.text("Status"), page.some("StatusReason"));
            let changes = page.members("Changes").filter_map(|entry| entry.find("ResourceChange"));
            set.changes.extend(changes.map(Change::of));
            next = page.some(NEXT);
            if next.is_none() {
                return Ok(set);
            }
        }
    }

    /// Begins to do what a change set says.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn execute(&self, change_set: &str, token: &str) -> Result<()> {
        let given = [("ChangeSetName", change_set), ("ClientRequestToken", token)];
        self.call("ExecuteChangeSet", &given).await.map(drop)
    }

    /// Forgets a change set.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn delete_change_set(&self, id: &str) -> Result<()> {
        self.call("DeleteChangeSet", &[("ChangeSetName", id)]).await.map(drop)
    }

    /// Begins to delete a stack.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn delete(&self, stack: &str) -> Result<()> {
        self.call("DeleteStack", &[("StackName", stack)]).await.map(drop)
    }

    /// Keeps a stack from being deleted, or no longer.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn protect(&self, stack: &str, is_protected: bool) -> Result<()> {
        let given =
            [("StackName", stack), ("EnableTerminationProtection", if is_protected { "true" } else { "false" })];
        self.call("UpdateTerminationProtection", &given).await.map(drop)
    }

    /// The id of the last event of a stack.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn last_event(&self, stack: &str) -> Result<Option<String>> {
        let page = self.page("DescribeStackEvents", ("StackName", stack), None).await?;
        Ok(page.members("StackEvents").next().map(|event| Event::of(event).event_id))
    }

    /// What has happened to a stack since an event, the oldest first; everything without one.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn events(&self, stack: &str, since: Option<&str>) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut next = None;
        'pages: loop {
            let page = self.page("DescribeStackEvents", ("StackName", stack), next.as_deref()).await?;
            for event in page.members("StackEvents").map(Event::of) {
                if Some(event.event_id.as_str()) == since {
                    break 'pages;
                }
                events.push(event);
            }
            next = page.some(NEXT);
            if next.is_none() {
                break;
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Lets a stack whose update failed, and then its rollback as well, try that again.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn continue_rollback(&self, stack: &str) -> Result<()> {
        self.call("ContinueUpdateRollback", &[("StackName", stack)]).await.map(drop)
    }

    /// What is in a stack.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn resources(&self, stack: &str) -> Result<Vec<Resource>> {
        let found = self.ask("DescribeStackResources", &[("StackName", stack)]).await?;
        Ok(found.members("StackResources").map(Resource::of).collect())
    }

    /// Lets AWS look for what is no longer as the template says; the id of that.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn detect_drift(&self, stack: &str) -> Result<String> {
        let begun = self.ask("DetectStackDrift", &[("StackName", stack)]).await?;
        Ok(begun.text("StackDriftDetectionId"))
    }

    /// Whether AWS is still looking.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn detects_drift(&self, detection: &str) -> Result<bool> {
        let given = [("StackDriftDetectionId", detection)];
        let now = self.ask("DescribeStackDriftDetectionStatus", &given).await?;
        Ok(now.text("DetectionStatus") == "DETECTION_IN_PROGRESS")
    }

    /// The names of the resources that were found to be different, or gone.
    ///
    /// # Errors
    /// [`CloudFormationError`].
    pub async fn drifted(&self, stack: &str) -> Result<Vec<String>> {
        let given = [
            ("StackName", stack),
            ("StackResourceDriftStatusFilters.member.1", "MODIFIED"),
            ("StackResourceDriftStatusFilters.member.2", "DELETED"),
        ];
        let found = self.ask("DescribeStackResourceDrifts", &given).await?;
        Ok(found.members("StackResourceDrifts").map(|one| one.text("LogicalResourceId")).collect())
    }

    /// Asks for a page of an answer, the first or the one that the last has named.
    async fn page(&self, operation: &'static str, of: (&str, &str), token: Option<&str>) -> Result<Element> {
        let given: Vec<_> = [of].into_iter().chain(token.map(|token| (NEXT, token))).collect();
        self.ask(operation, &given).await
    }

    /// Asks, and reads the answer: the element `<OperationResult>`.
    async fn ask(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<Element> {
        let text = self.call(operation, given).await?;
        let root = Element::parse(&text).map_err(|source| CloudFormationError::Unreadable { operation, source })?;
        Ok(root.take(&format!("{operation}Result")).unwrap_or_default())
    }
}
