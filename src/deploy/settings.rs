//! The settings of all `deploy` commands, and the names of the stacks that follow from them.

use tokio::time::Instant;

use super::compute::Compute;
use super::templates::StackKind;
use crate::api::account::Account;
use crate::api::cloudformation::{CloudFormation, Pairs};
use crate::api::parameters::ParameterStore;

/// The regions that have serverless MLflow, by the schema of the resource type.
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

/// The kind of managed MLflow that the stacks create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployMode {
    /// A tracking server.
    Tracking,
    /// A serverless app.
    Serverless,
}

impl DeployMode {
    /// Returns the name in the names of stacks and in the parameter `Mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Serverless => "serverless",
        }
    }

    /// Returns the mode with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tracking, Self::Serverless].into_iter().find(|mode| mode.name() == name)
    }

    /// Returns the resource type in ARNs.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Tracking => "mlflow-tracking-server",
            Self::Serverless => "mlflow-app",
        }
    }

    /// Returns the other mode.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Tracking => Self::Serverless,
            Self::Serverless => Self::Tracking,
        }
    }
}

/// Everything that the `deploy` commands need, checked.
pub struct DeploySettings<'a> {
    /// CloudFormation of the region.
    pub cloud: CloudFormation<'a>,
    /// The Parameter Store of the region.
    pub store: ParameterStore<'a>,
    /// The account's other services in the region.
    pub account: Account<'a>,
    /// The prefix of all names.
    pub prefix: String,
    /// The kind of managed MLflow.
    pub mode: DeployMode,
    /// The kind of compute of the appliance; without one, that of the deployment.
    pub compute: Option<Compute>,
    /// True if the set includes a Studio domain.
    pub has_domain: bool,
    /// The values of parameters from the command line and from files.
    pub given: Pairs,
    /// The tags of all resources, beside the appliance's own.
    pub tags: Pairs,
    /// The role that CloudFormation assumes; without one it acts with the caller's credentials.
    pub role: Option<String>,
    /// The time at which waiting ends.
    pub deadline: Instant,
}

impl DeploySettings<'_> {
    /// Returns the name of the stack of a kind.
    #[must_use]
    pub fn stack(&self, kind: StackKind) -> String {
        self.stack_of(kind, self.mode)
    }

    /// Returns the name of the stack of a kind and a mode.
    pub(super) fn stack_of(&self, kind: StackKind, mode: DeployMode) -> String {
        if kind.is_shared() {
            format!("{}-{}", self.prefix, kind.name())
        } else {
            format!("{}-{}-{}", self.prefix, kind.name(), mode.name())
        }
    }

    /// Returns the stacks of this set in the order of their creation.
    #[must_use]
    pub fn kinds(&self) -> impl DoubleEndedIterator<Item = StackKind> + use<> {
        let (has_domain, compute) = (self.has_domain, self.compute);
        StackKind::ALL.into_iter().filter(move |kind| match Compute::of(*kind) {
            Some(of) => compute.is_none_or(|compute| compute == of),
            None => has_domain || *kind != StackKind::SagemakerDomain,
        })
    }
}
