//! The errors of `deploy`, each with an instruction.

use super::obstacle::Obstacle;
use super::settings::SERVERLESS_REGIONS;
use crate::api::service::ServiceError;

/// The reason why a `deploy` command failed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A call of AWS failed.
    #[error(transparent)]
    Cloud(#[from] ServiceError),
    /// Values are missing or invalid: the stack and its problems.
    #[error("invalid parameter values for {}:\n  {}", .0, .1.join("\n  "))]
    Parameters(String, Vec<String>),
    /// Names of parameters that no template has.
    #[error("no template has the parameter {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// The region has no serverless MLflow.
    #[error("there is no serverless MLflow in {0}; it is in {list}", list = SERVERLESS_REGIONS.join(", "))]
    Region(String),
    /// The Parameter Store has no image under that name.
    #[error("{parameter} names no image: {what}")]
    Missing {
        /// The template's parameter that names it.
        parameter: String,
        /// The finding instead of an image.
        what: String,
    },
    /// Preflight found obstacles.
    #[error("nothing has been created yet, because of these obstacles:\n  {}", joined(.0))]
    Obstacles(Vec<Obstacle>),
    /// CloudFormation cannot compute a change set.
    #[error("CloudFormation cannot compute the changes to {stack}: {reason}")]
    ChangeSet {
        /// The name of the stack.
        stack: String,
        /// The reason that CloudFormation gives.
        reason: String,
    },
    /// The person who deploys did not confirm.
    #[error("stopped: {0} was not confirmed")]
    Declined(String),
    /// The operation was rolled back, or is stuck.
    #[error("{stack} is {status}: {cause}")]
    Failed {
        /// The name of the stack.
        stack: String,
        /// Such as `ROLLBACK_COMPLETE`.
        status: String,
        /// The resource that failed first, and why.
        cause: String,
        /// An instruction.
        hint: &'static str,
    },
    /// The operation still ran at the deadline.
    #[error("{stack} is still {status}")]
    Late {
        /// The name of the stack.
        stack: String,
        /// Such as `CREATE_IN_PROGRESS`.
        status: String,
    },
    /// The deployment has both kinds of compute: the names of their stacks.
    #[error("{0} and {1} exist, and the command is for one of them")]
    BothComputes(String, String),
    /// The other mode's stacks need the stack that was to be removed.
    #[error("{shared} is needed by {user}")]
    Needed {
        /// The shared stack.
        shared: String,
        /// The stack that needs it.
        user: String,
    },
}

fn joined(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl DeployError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cloud(error) if error.is_denial() => {
                Some("add the action to the policy of the identity that deploys, or of the role of `--role-arn`")
            }
            Self::Cloud(ServiceError::Refused { message, .. }) if message.contains("UPDATE_ROLLBACK_FAILED") => {
                Some("remove the cause of the failed rollback, then run `appliance deploy apply`, which retries it")
            }
            Self::Cloud(ServiceError::Refused { message, .. }) if message.contains("parameter store") => Some(
                "bake an image, which stores its id for the stacks, or name the parameter that holds an id with `--parameter AmiParameter=…`",
            ),
            Self::Missing { .. } => Some(
                "bake an image, which stores its id for the stacks, or name the parameter that holds an id with `--parameter AmiParameter=…`",
            ),
            Self::Cloud(ServiceError::Refused { code, .. }) if code == "ValidationError" => {
                Some("correct the parameter or template that it names")
            }
            Self::Cloud(error) if error.is_expiry() => Some(
                "renew the session (`aws sso login`) or set the clock, then run the command again: AWS continues meanwhile, and the command resumes watching",
            ),
            Self::Cloud(_) => Some("run `appliance check` to test the connection to AWS and the credentials"),
            Self::Parameters(..) | Self::Unknown(_) => {
                Some("pass `--parameter NAME=VALUE`, or set it in the `--config` file")
            }
            Self::Region(_) => Some("choose one of these with `--region`, or `--mode tracking`"),
            Self::ChangeSet { .. } => Some("correct the parameter or template that it names"),
            Self::Obstacles(_) => Some("correct these, then run the command again"),
            Self::Declined(_) => None,
            Self::Failed { hint, .. } => Some(hint),
            Self::Late { .. } => Some("run the command again to keep watching"),
            Self::BothComputes(..) => Some("say which with `--compute instances` or `--compute fargate`"),
            Self::Needed { .. } => Some("destroy that one first, or leave out `--shared`"),
        }
    }
}
