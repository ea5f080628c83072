//! Launches the stacks: values, change set, consent, events, outputs; the next stack gets the outputs of those before.
//!
//! Whatever is interrupted goes on in AWS, and the same command takes up where it was.

mod apply;
mod cost;
mod destroy;
mod diff;
mod error;
mod foresee;
mod kept;
mod parameters;
mod plan;
mod preflight;
mod report;
mod rules;
mod tags;
mod templates;
mod watch;

use std::time::Duration;

use tokio::time::Instant;

pub use apply::apply;
pub use cost::{Item, cost};
pub use destroy::destroy;
pub use diff::{Line, Weight, is_permission};
pub use error::DeployError;
pub use plan::{Outlook, Planned, plan};
pub use preflight::Finding;
pub use report::{Report, report};
pub use templates::Kind;

use crate::api::account::Account;
use crate::api::cloudformation::{CloudFormation, Pairs, Stack, StackEvent, StackResource};
use crate::api::parameters::ParameterStore;
use templates::Template;

/// Regions that have serverless MLflow, by the resource type's schema.
pub const SERVERLESS_REGIONS: [&str; 16] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// An MLflow of AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A tracking server.
    Tracking,
    /// A serverless app.
    Serverless,
}

impl Mode {
    /// As in the names of stacks, and the parameter `Mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Serverless => "serverless",
        }
    }

    /// As in ARNs.
    fn resource(self) -> &'static str {
        match self {
            Self::Tracking => "mlflow-tracking-server",
            Self::Serverless => "mlflow-app",
        }
    }

    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Tracking => Self::Serverless,
            Self::Serverless => Self::Tracking,
        }
    }
}

/// What is to be launched.
pub struct Settings<'a> {
    /// CloudFormation of the region.
    pub cloud: CloudFormation<'a>,
    /// The Parameter Store of the region.
    pub store: ParameterStore<'a>,
    /// The account's other services in the region.
    pub account: Account<'a>,
    /// What all names begin with.
    pub prefix: String,
    /// Which MLflow.
    pub mode: Mode,
    /// Whether Studio is wanted, too.
    pub has_domain: bool,
    /// Values of parameters.
    pub given: Pairs,
    /// Tags of everything, beside the appliance's own.
    pub tags: Pairs,
    /// The role that CloudFormation acts as; without one it acts as whoever asks.
    pub role: Option<String>,
    /// Until when it is waited.
    pub deadline: Instant,
}

impl Settings<'_> {
    /// What the stack of a kind is called.
    #[must_use]
    pub fn stack(&self, kind: Kind) -> String {
        self.stack_of(kind, self.mode)
    }

    fn stack_of(&self, kind: Kind, mode: Mode) -> String {
        if kind.is_shared() {
            format!("{}-{}", self.prefix, kind.name())
        } else {
            format!("{}-{}-{}", self.prefix, kind.name(), mode.name())
        }
    }

    /// The stacks of this set, in the order in which they are made.
    #[must_use]
    pub fn kinds(&self) -> impl DoubleEndedIterator<Item = Kind> + use<> {
        let has_domain = self.has_domain;
        Kind::ALL.into_iter().filter(move |kind| has_domain || *kind != Kind::SagemakerDomain)
    }
}

/// What people see and decide.
pub trait Talk {
    /// Shows a line.
    fn say(&mut self, line: &str);
    /// Shows a line of a change set.
    fn show(&mut self, line: &Line);
    /// Shows what happened to a resource, how long it took and how many are done of how many.
    fn event(&mut self, event: &StackEvent, took: Option<Duration>, done: usize, of: usize);
    /// A value for a parameter that has none; nothing if nobody is there to say.
    fn ask(&mut self, name: &str, description: &str) -> Option<String>;
    /// Whether to go on.
    fn agrees(&mut self, question: &str) -> bool;
}

/// A stack once nothing happens to it any more; nothing if that was its end.
async fn rested(
    settings: &Settings<'_>,
    name: &str,
    stack: Stack,
    template: &Template,
    talk: &mut dyn Talk,
) -> Result<Option<Stack>, DeployError> {
    if !stack.stack_status.ends_with("_IN_PROGRESS") || stack.stack_status == "REVIEW_IN_PROGRESS" {
        return Ok(Some(stack));
    }
    talk.say(&format!("{name} is {}: watching that first", stack.stack_status));
    match finish(settings, name, &stack.stack_id, None, template.resources.len(), talk).await {
        // How it has ended is for the caller to see.
        Ok(_) | Err(DeployError::Failed { .. }) => Ok(settings.cloud.stack(name).await?),
        Err(error) => Err(error),
    }
}

/// Deletes a stack, which may be protected and has these resources, and follows that to its end.
async fn delete(
    settings: &Settings<'_>,
    name: &str,
    stack: &Stack,
    (template, there): (&Template, &[StackResource]),
    talk: &mut dyn Talk,
) -> Result<(), DeployError> {
    if stack.enable_termination_protection {
        settings.cloud.protect(name, false).await?;
    }
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.delete(name, settings.role.as_deref()).await?;
    let count = there.iter().filter(|resource| kept::is_kept(template, resource) == Some(false)).count();
    finish(settings, name, &stack.stack_id, since, count, talk).await.map(drop)
}

/// Follows an operation to its end, and turns that into a result; the status it ended with.
async fn finish(
    settings: &Settings<'_>,
    name: &str,
    id: &str,
    since: Option<String>,
    of: usize,
    talk: &mut dyn Talk,
) -> Result<String, DeployError> {
    let mut show = |sight: watch::Sight<'_>| match sight {
        watch::Sight::Event(event, took, done) => talk.event(event, took, done, of),
        watch::Sight::Quiet(what) => talk.say(&format!("  … AWS is still at {what}")),
    };
    match watch::follow(&settings.cloud, id, since, settings.deadline, &mut show).await? {
        watch::End::Complete(status) => Ok(status),
        watch::End::Late(status) => Err(DeployError::Late { stack: name.to_owned(), status }),
        watch::End::Failed { status, cause } => {
            let reason = cause.as_ref().and_then(|event| event.resource_status_reason.clone()).unwrap_or_default();
            let hint = watch::hint(&reason);
            let cause = cause.map_or_else(
                || "its events say no more".to_owned(),
                |event| {
                    let kind = event.resource_type.unwrap_or_default();
                    format!("{} ({kind}) {}: {reason}", event.logical_resource_id, event.resource_status)
                },
            );
            Err(DeployError::Failed { stack: name.to_owned(), status, cause, hint })
        }
    }
}
