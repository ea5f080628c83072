//! Why S3 did not do what it was asked to, and what of that is whose business.

use std::time::Duration;

use actix_web::http::StatusCode;

use crate::http::client::ClientError;

/// Why S3 did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFailure {
    /// There is no such object.
    #[error("there is no such artifact")]
    Missing,
    /// The identity may not.
    #[error("access denied: `{action}` on `{resource}` is needed")]
    Denied {
        /// The IAM action.
        action: &'static str,
        /// The resource, as a policy names it.
        resource: String,
    },
    /// S3 is busy or failing, and was still after some attempts.
    #[error("S3 is busy ({0})")]
    Busy(String),
    /// The range lies outside of the object.
    #[error("the range is not satisfiable")]
    Range,
    /// The bucket is in another region, or there is none of that name.
    #[error("the bucket is misconfigured ({0})")]
    Bucket(String),
    /// The request itself was refused, in a way that only S3 can explain.
    #[error("S3 refused the request ({0})")]
    Refused(String),
    /// The answer makes no sense.
    #[error("S3 gave an answer that is not understood")]
    Unreadable,
    /// S3 could not be reached.
    #[error("S3 did not answer")]
    Unreachable(#[source] ClientError),
    /// S3 has given no answer to the last requests, and is not asked for this long.
    #[error("S3 cannot be reached, and is not asked until it is tried again")]
    CircuitOpen(Duration),
}

impl StoreFailure {
    /// One word for logs and metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "no-such-artifact",
            Self::Denied { .. } => "artifact-access-denied",
            Self::Busy(_) => "artifact-store-busy",
            Self::Range => "bad-range",
            Self::Bucket(_) => "artifact-store-misconfigured",
            Self::Refused(_) | Self::Unreadable => "artifact-store-refused",
            Self::Unreachable(_) => "artifact-store-unreachable",
            Self::CircuitOpen(_) => "artifact-store-circuit-open",
        }
    }

    /// The status to answer with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::Busy(_) | Self::CircuitOpen(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Bucket(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Unreadable | Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// What the caller may know.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Missing => "There is no such artifact.".into(),
            Self::Denied { action, resource } => {
                // S3 does not tell a missing object from a forbidden one to an identity that may not list the bucket.
                let doubt = if *action == "s3:GetObject" { " Or there is no such artifact." } else { "" };
                format!("The appliance's identity needs `{action}` on `{resource}`; its operator can allow it.{doubt}")
            }
            Self::Busy(code) => format!("The artifact store is busy ({code}). Try again shortly."),
            Self::Range => "The range lies outside of the artifact.".into(),
            Self::Bucket(code) => {
                format!("The appliance's artifact store is misconfigured ({code}): check its bucket and region.")
            }
            Self::Refused(code) => format!("The artifact store refused the request ({code})."),
            Self::Unreadable => "The artifact store gave an answer that is not understood.".into(),
            Self::Unreachable(_) => "The artifact store could not be reached.".into(),
            Self::CircuitOpen(_) => {
                "The artifact store could not be reached of late, and is tried from time to time. Try again shortly."
                    .into()
            }
        }
    }
}
