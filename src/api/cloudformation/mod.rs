//! CloudFormation, as far as `deploy` needs it, in the Query protocol.

mod answers;

pub use answers::{Change, ChangeSet, Pairs, Stack, StackEvent, StackResource};

use super::service::{QueryService, ServiceDescription, ServiceResult};
use crate::xml::Element;

/// The field by which a response names its next page, and a request asks for it.
const NEXT: &str = "NextToken";

/// The names of CloudFormation.
pub const ABOUT: ServiceDescription =
    ServiceDescription { title: "CloudFormation", name: "cloudformation", version: "2010-05-15", attempts: 6 };

/// CloudFormation in one region.
pub struct CloudFormation<'a>(pub QueryService<'a>);

/// The contents of a new change set.
pub struct ChangeSetRequest<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// The change set's name.
    pub name: &'a str,
    /// True if there is no stack of that name yet.
    pub is_new: bool,
    /// The template's text; the one that the stack has, without it.
    pub template: Option<&'a str>,
    /// Values of its parameters.
    pub parameters: &'a Pairs,
    /// Tags of the stack, and of what is in it.
    pub tags: &'a Pairs,
    /// The role that CloudFormation acts as, unless it acts as its caller.
    pub role: Option<&'a str>,
}

fn role(arn: Option<&str>) -> Option<(&str, &str)> {
    arn.map(|arn| ("RoleARN", arn))
}

impl CloudFormation<'_> {
    /// A stack by its name or ARN; nothing if there is none.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError), as for all of these.
    pub async fn stack(&self, name: &str) -> ServiceResult<Option<Stack>> {
        match self.0.ask("DescribeStacks", &[("StackName", name)]).await {
            Ok(found) => Ok(found.members("Stacks").next().map(Stack::of)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets CloudFormation compute what a template and its parameters would change; the ARN of that.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn create_change_set(&self, wish: &ChangeSetRequest<'_>) -> ServiceResult<String> {
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
        given.extend(role(wish.role));
        given.extend(lists.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        Ok(self.0.ask("CreateChangeSet", &given).await?.text("Id"))
    }

    /// A change set by its ARN, with all of its changes.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn change_set(&self, id: &str) -> ServiceResult<ChangeSet> {
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

    /// The problems that CloudFormation has found in a change set before anything is made, each with its resource. The reason of
    /// the change set only counts the checks that failed.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn problems(&self, change_set: &str) -> ServiceResult<Vec<String>> {
        let given = [("ChangeSetName", change_set), ("Filters.FailedEvents", "true")];
        let found = self.0.ask("DescribeEvents", &given).await?;
        Ok(found.members("OperationEvents").filter_map(answers::problem).collect())
    }

    /// Starts to execute a change set.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn execute(&self, change_set: &str, token: &str) -> ServiceResult<()> {
        let given = [("ChangeSetName", change_set), ("ClientRequestToken", token)];
        self.0.call("ExecuteChangeSet", &given).await.map(drop)
    }

    /// Deletes a change set.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn delete_change_set(&self, id: &str) -> ServiceResult<()> {
        self.0.call("DeleteChangeSet", &[("ChangeSetName", id)]).await.map(drop)
    }

    /// Begins to delete a stack.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn delete(&self, stack: &str, as_role: Option<&str>) -> ServiceResult<()> {
        let given: Vec<_> = [("StackName", stack)].into_iter().chain(role(as_role)).collect();
        self.0.call("DeleteStack", &given).await.map(drop)
    }

    /// Protects a stack from deletion, or removes the protection.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn protect(&self, stack: &str, is_protected: bool) -> ServiceResult<()> {
        let given =
            [("StackName", stack), ("EnableTerminationProtection", if is_protected { "true" } else { "false" })];
        self.0.call("UpdateTerminationProtection", &given).await.map(drop)
    }

    /// The id of the last event of a stack.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn last_event(&self, stack: &str) -> ServiceResult<Option<String>> {
        let page = self.page("DescribeStackEvents", ("StackName", stack), None).await?;
        Ok(page.members("StackEvents").next().map(|event| StackEvent::of(event).event_id))
    }

    /// The events of a stack after the given one, the oldest first; without one, all events.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn events(&self, stack: &str, since: Option<&str>) -> ServiceResult<Vec<StackEvent>> {
        let mut events = Vec::new();
        let mut next = None;
        'pages: loop {
            let page = self.page("DescribeStackEvents", ("StackName", stack), next.as_deref()).await?;
            for event in page.members("StackEvents").map(StackEvent::of) {
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
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn continue_rollback(&self, stack: &str, as_role: Option<&str>) -> ServiceResult<()> {
        let given: Vec<_> = [("StackName", stack)].into_iter().chain(role(as_role)).collect();
        self.0.call("ContinueUpdateRollback", &given).await.map(drop)
    }

    /// True if this region has a type of resource.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn has_type(&self, name: &str) -> ServiceResult<bool> {
        match self.0.call("DescribeType", &[("Type", "RESOURCE"), ("TypeName", name)]).await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|code| code.starts_with("TypeNotFound")) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The resources of a stack.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn resources(&self, stack: &str) -> ServiceResult<Vec<StackResource>> {
        let found = self.0.ask("DescribeStackResources", &[("StackName", stack)]).await?;
        Ok(found.members("StackResources").map(StackResource::of).collect())
    }

    /// Starts the detection of drift and returns its id.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn detect_drift(&self, stack: &str) -> ServiceResult<String> {
        let begun = self.0.ask("DetectStackDrift", &[("StackName", stack)]).await?;
        Ok(begun.text("StackDriftDetectionId"))
    }

    /// True while AWS is still detecting drift.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn detects_drift(&self, detection: &str) -> ServiceResult<bool> {
        let given = [("StackDriftDetectionId", detection)];
        let now = self.0.ask("DescribeStackDriftDetectionStatus", &given).await?;
        Ok(now.text("DetectionStatus") == "DETECTION_IN_PROGRESS")
    }

    /// The names of the resources that were found to be different, or gone.
    ///
    /// # Errors
    /// [`ServiceError`](super::service::ServiceError).
    pub async fn drifted(&self, stack: &str) -> ServiceResult<Vec<String>> {
        let given = [
            ("StackName", stack),
            ("StackResourceDriftStatusFilters.member.1", "MODIFIED"),
            ("StackResourceDriftStatusFilters.member.2", "DELETED"),
        ];
        let found = self.0.ask("DescribeStackResourceDrifts", &given).await?;
        Ok(found.members("StackResourceDrifts").map(|one| one.text("LogicalResourceId")).collect())
    }

    /// Asks for a page of an answer, the first or the one that the last has named.
    async fn page(&self, operation: &'static str, of: (&str, &str), token: Option<&str>) -> ServiceResult<Element> {
        let given: Vec<_> = [of].into_iter().chain(token.map(|token| (NEXT, token))).collect();
        self.0.ask(operation, &given).await
    }
}
