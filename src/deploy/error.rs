//! The errors of `deploy`, each with an instruction.

use super::SERVERLESS_REGIONS;
use super::preflight::Finding;
use crate::api::service::ServiceError;

/// The stacks are not as they were meant to be.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A call had no effect.
    #[error(transparent)]
    Cloud(#[from] ServiceError),
    /// Values are missing or cannot be.
    #[error("{} cannot be launched like this:\n  {}", .0, .1.join("\n  "))]
    Parameters(String, Vec<String>),
    /// Names of parameters that no template has.
    #[error("no template has the parameter {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// There is no serverless MLflow.
    #[error("there is no serverless MLflow in {0}; it is in {list}", list = SERVERLESS_REGIONS.join(", "))]
    Region(String),
    /// Something is not in the Parameter Store.
    #[error("{parameter} names no image: {what}")]
    Missing {
        /// The template's parameter that names it.
        parameter: String,
        /// What there is instead.
        what: String,
    },
    /// AWS would not let the stacks be made.
    #[error("nothing has been made yet, because this is in the way:\n  {}", joined(.0))]
    Obstacles(Vec<Finding>),
    /// CloudFormation cannot make a change set.
    #[error("the changes to {stack} cannot be computed: {reason}")]
    ChangeSet {
        /// Which stack.
        stack: String,
        /// CloudFormation's words.
        reason: String,
    },
    /// Somebody said no.
    #[error("stopped: {0} was not agreed to")]
    Declined(String),
    /// It was undone, or is stuck.
    #[error("{stack} is {status}: {cause}")]
    Failed {
        /// Which stack.
        stack: String,
        /// Such as `ROLLBACK_COMPLETE`.
        status: String,
        /// The resource that failed first, and why.
        cause: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// It still runs.
    #[error("{stack} is still {status}")]
    Late {
        /// Which stack.
        stack: String,
        /// Such as `CREATE_IN_PROGRESS`.
        status: String,
    },
    /// The other mode's stacks need what was to be removed.
    #[error("{shared} is needed by {user}")]
    Needed {
        /// What was to be removed.
        shared: String,
        /// Who needs it.
        user: String,
    },
}

fn joined(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl DeployError {
    /// What to do about it, as an instruction.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cloud(error) if error.is_denial() => {
                Some("add the action to the policy of whoever deploys; infra/README.md has all of it")
            }
            Self::Cloud(ServiceError::Refused { message, .. }) if message.contains("UPDATE_ROLLBACK_FAILED") => {
                Some("repair what kept it from going back, then run `appliance deploy apply`: it tries that again")
            }
            Self::Cloud(ServiceError::Refused { message, .. }) if message.contains("parameter store") => {
                Some("bake the AMI first (packer/README.md), or name its parameter with `--parameter AmiParameter=…`")
            }
            Self::Missing { .. } => {
                Some("bake the AMI first (packer/README.md), or name its parameter with `--parameter AmiParameter=…`")
            }
            Self::Cloud(ServiceError::Refused { code, .. }) if code == "ValidationError" => {
                Some("correct the parameter or template that it names")
            }
            Self::Cloud(error) if error.is_expiry() => Some(
                "renew the session (`aws sso login`) or set the clock, then run the command again: what AWS is at goes on, and it takes up where that is",
            ),
            Self::Cloud(_) => Some("see whether AWS can be reached, and with which credentials: `appliance check`"),
            Self::Parameters(..) | Self::Unknown(_) => {
                Some("say `--parameter NAME=VALUE`, or write it into the file of `--config`")
            }
            Self::Region(_) => Some("choose one of these with `--region`, or `--mode tracking`"),
            Self::ChangeSet { .. } => Some("correct the parameter or template that it names"),
            Self::Obstacles(_) => Some("correct these, then run the command again"),
            Self::Declined(_) => None,
            Self::Failed { hint, .. } => Some(hint),
            Self::Late { .. } => Some("run the command again: it goes on watching"),
            Self::Needed { .. } => Some("destroy the other mode first, or leave out `--shared`"),
        }
    }
}
