//! The reasons why a call of a service has no effect.

use super::super::error::ApiError;
use crate::xml::XmlError;

/// The result of a call.
pub type ServiceResult<T> = Result<T, ServiceError>;

/// The reason why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// AWS did not answer.
    #[error(transparent)]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error("{operation}: {code}: {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// Its code, such as `AccessDenied`.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The response is not XML.
    #[error("{operation}: the response cannot be read")]
    Unreadable {
        /// The operation.
        operation: &'static str,
        /// The error in the XML.
        source: XmlError,
    },
}

impl ServiceError {
    /// True if there is no such stack or change set.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        let Self::Refused { code, message, .. } = self else { return false };
        code == "ChangeSetNotFound" || (code == "ValidationError" && message.contains("does not exist"))
    }

    /// True if the caller lacks a permission.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        let Self::Refused { code, .. } = self else { return false };
        code.starts_with("AccessDenied") || code.starts_with("UnauthorizedOperation")
    }

    /// The error code of a rejection.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unanswered(_) | Self::Unreadable { .. } => None,
        }
    }

    /// True if the credentials have expired.
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "RequestExpired")
            }
            Self::Unanswered(ApiError::Credentials(_)) => true,
            Self::Unanswered(_) | Self::Unreadable { .. } => false,
        }
    }

    /// True if a retry may succeed.
    #[must_use]
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Unreadable { .. } => false,
            Self::Refused { code, .. } => {
                self.is_expiry()
                    || code.starts_with("Throttling")
                    || matches!(
                        code.as_str(),
                        "RequestLimitExceeded" | "500" | "502" | "503" | "InternalFailure" | "ServiceUnavailable"
                    )
            }
        }
    }
}
