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

/// The codes by which services answer when a region does not know the access key.
const UNKNOWN: [&str; 4] = ["AuthFailure", "InvalidClientTokenId", "OptInRequired", "UnrecognizedClientException"];

/// Returns true if AWS rejects a signature because of its time.
fn is_of_the_clock(code: &str, message: &str) -> bool {
    code == "RequestTimeTooSkewed"
        || ["Signature expired", "Signature not yet current"].iter().any(|words| message.contains(words))
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
            Self::Cloud(ServiceError::Refused { code, message, .. }) if is_of_the_clock(code, message) => {
                Some("set the clock of this machine, by which the calls are signed, then run the command again")
            }
            Self::Cloud(ServiceError::Refused { code, .. }) if UNKNOWN.contains(&code.as_str()) => Some(
                "correct the access key; or the region is one that the account has to enable first (`aws account enable-region --region-name …`)",
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
            Self::BothComputes(..) => Some("choose one with `--compute instances` or `--compute fargate`"),
            Self::Needed { .. } => Some("destroy that one first, or leave out `--shared`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_calls_have_a_hint_by_their_cause() {
        let hint = |code: &str, message: &str| {
            let (code, message) = (code.to_owned(), message.to_owned());
            DeployError::Cloud(ServiceError::Refused { operation: "DescribeStacks", code, message }).hint().unwrap()
        };
        let expired =
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)";
        assert!(hint("SignatureDoesNotMatch", expired).starts_with("set the clock"));
        let future = "Signature not yet current: 20260101T010000Z is still later than 20260101T000500Z";
        assert!(hint("InvalidSignatureException", future).starts_with("set the clock"));
        let invalid = "The security token included in the request is invalid.";
        assert!(hint("InvalidClientTokenId", invalid).contains("enable-region"));
        assert!(hint("SignatureDoesNotMatch", "The request signature we calculated does not match").contains("check"));
        assert!(hint("ExpiredToken", "The security token included in the request is expired").contains("sso login"));
    }
}
