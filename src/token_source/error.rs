//! The reasons why tokens cannot be read or changed.

use crate::access::tokens::TokensError;
use crate::api::ApiError;
use crate::aws::secret::SecretError;
use crate::error_chain;

/// The reason why tokens cannot be read or changed in their place.
#[derive(Debug, thiserror::Error)]
pub enum TokenSourceError {
    /// The file cannot be read, or is invalid. The text names it.
    #[error("{0}")]
    Unreadable(String),
    /// The file cannot be written. The text names it.
    #[error("{0}")]
    Unwritable(String),
    /// The secret is invalid.
    #[error("`{name}` holds no valid tokens")]
    Invalid {
        /// The secret.
        name: String,
        /// The problem.
        source: TokensError,
    },
    /// AWS's answer to a request for the secret has no tokens.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no such secret.
    #[error("AWS keeps no secret `{0}` in this region")]
    Missing(String),
    /// AWS answered with an error.
    #[error("AWS answered {code} to `{action}` on `{name}`: {message}")]
    Refused {
        /// AWS's name for the error.
        code: String,
        /// AWS's text.
        message: String,
        /// The IAM action.
        action: String,
        /// The secret.
        name: String,
    },
    /// AWS did not answer. The text has the causes, which cannot change threads.
    #[error("AWS did not answer about the tokens: {0}")]
    Unanswered(String),
    /// AWS answered with a document that has not what it must have.
    #[error("the answer to `{0}` cannot be understood")]
    Answer(String),
    /// Other writers were always faster.
    #[error("others changed `{0}` at the same time, again and again")]
    Contended(String),
    /// The tokens are kept in AWS, and there are no means to call it.
    #[error("there is no way to ask AWS")]
    NoAccess,
    /// The system has no random numbers for the name of a version.
    #[error("the operating system gave no random numbers")]
    NoRandomness,
}

impl TokenSourceError {
    /// The fix, as an instruction.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable(_) => "name the token file with `--file`".to_owned(),
            Self::Unwritable(_) => "choose a file in a writable directory".to_owned(),
            Self::Invalid { .. } => "correct the text of the secret, or restore an earlier version of it".to_owned(),
            Self::Secret(_) => {
                "allow the action in the policy of your identity, and check name, region and account".to_owned()
            }
            Self::Missing(_) => {
                "check name, region and account; `appliance token new` creates the secret with its first token"
                    .to_owned()
            }
            Self::Refused { code, action, name, .. } => match code.as_str() {
                "AccessDeniedException" => {
                    format!("allow `{action}` on `{name}` in the policy of your identity, and its KMS key if it has its own")
                }
                code if code.contains("Expired") || code.contains("Token") => {
                    "renew the credentials, with `aws sso login` for example".to_owned()
                }
                "ValidationException" | "ParameterMaxVersionLimitExceeded" => {
                    "a standard parameter has room for 4 KB, about 20 tokens: revoke those that have expired, or keep the \
                     tokens in Secrets Manager"
                        .to_owned()
                }
                _ => "check name, region and account, and repeat the command".to_owned(),
            },
            Self::Unanswered(_) | Self::NoAccess => {
                "check the credentials, and the network between here and AWS; look at the tokens before you repeat a change"
                    .to_owned()
            }
            Self::Answer(_) => "check AWS_ENDPOINT_URL: the program that listens there does not behave like AWS".to_owned(),
            Self::Contended(_) | Self::NoRandomness => "repeat the command in a minute".to_owned(),
        }
    }
}

impl From<ApiError> for TokenSourceError {
    fn from(error: ApiError) -> Self {
        Self::Unanswered(error_chain::joined(&error))
    }
}

/// The reason why an update has no effect.
#[derive(Debug)]
pub enum UpdateError<E> {
    /// The edit failed.
    Edit(E),
    /// The tokens cannot be read or changed.
    Source(TokenSourceError),
}

impl<E> From<TokenSourceError> for UpdateError<E> {
    fn from(error: TokenSourceError) -> Self {
        Self::Source(error)
    }
}
