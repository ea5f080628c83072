//! The errors of S3: their meaning, the IAM permission that a 403 calls for, and what a caller may learn of them.

use std::time::Duration;

use actix_web::http::StatusCode;

use crate::http::client::ClientError;
use crate::mlflow::store::ArtifactStore;

/// The kind of a call to S3. It decides which IAM action the call needs, and if the call may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum S3CallKind {
    Read,
    Write,
    /// Begins or completes a multipart upload.
    Assemble,
    Delete,
    List,
    Abort,
}

/// A call to S3 has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum S3Error {
    /// There is no such object.
    #[error("there is no such artifact")]
    Missing,
    /// The identity lacks a permission.
    #[error("access denied: the identity needs `{action}` on `{resource}`")]
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
    /// S3 rejected the request itself, in a way that only S3 can explain.
    #[error("S3 rejected the request ({0})")]
    Rejected(String),
    /// The response is not what S3 documents.
    #[error("S3 sent a response that the appliance does not understand")]
    InvalidResponse,
    /// The appliance could not reach S3.
    #[error("S3 did not respond")]
    Unreachable(#[source] ClientError),
    /// S3 has not responded to the last requests, and gets none for this long.
    #[error("S3 cannot be reached; the circuit breaker is open until it responds to a probe")]
    CircuitOpen(Duration),
}

impl S3Error {
    /// Returns the error that a response with this status and error code means for a call. `partition` is that of the target.
    pub(crate) fn of(
        (status, code): (StatusCode, String),
        kind: S3CallKind,
        store: &ArtifactStore,
        partition: &str,
    ) -> Self {
        match (status, code.as_str()) {
            (_, "NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed") => Self::Bucket(code),
            (StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT, _) => Self::Bucket(code),
            (_, "NoSuchUpload" | "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall") => Self::Rejected(code),
            (StatusCode::NOT_FOUND, _) => Self::Missing,
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Self::Range,
            (StatusCode::FORBIDDEN, _) => Self::denied(kind, store, partition),
            (StatusCode::TOO_MANY_REQUESTS, _) => Self::Busy(code),
            (_, "RequestTimeout" | "ExpiredToken" | "OperationAborted") => Self::Busy(code),
            _ if status.is_server_error() => Self::Busy(code),
            _ => Self::Rejected(code),
        }
    }

    fn denied(kind: S3CallKind, store: &ArtifactStore, partition: &str) -> Self {
        let bucket = format!("arn:{partition}:s3:::{}", store.bucket());
        let objects = format!("{bucket}/{}*", store.prefix());
        let (action, resource) = match kind {
            S3CallKind::Read => ("s3:GetObject", objects),
            S3CallKind::Write | S3CallKind::Assemble => ("s3:PutObject", objects),
            S3CallKind::Delete => ("s3:DeleteObject", objects),
            S3CallKind::Abort => ("s3:AbortMultipartUpload", objects),
            S3CallKind::List => ("s3:ListBucket", bucket),
        };
        Self::Denied { action, resource }
    }

    /// Returns the error code for logs and metrics, and the status of the response to the caller.
    pub(crate) fn class(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Missing => ("no-such-artifact", StatusCode::NOT_FOUND),
            Self::Denied { .. } => ("artifact-access-denied", StatusCode::FORBIDDEN),
            Self::Busy(_) => ("artifact-store-busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Range => ("bad-range", StatusCode::RANGE_NOT_SATISFIABLE),
            Self::Bucket(_) => ("artifact-store-misconfigured", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Rejected(_) => ("artifact-store-refused", StatusCode::BAD_REQUEST),
            Self::InvalidResponse => ("artifact-store-refused", StatusCode::BAD_GATEWAY),
            Self::Unreachable(_) => ("artifact-store-unreachable", StatusCode::BAD_GATEWAY),
            Self::CircuitOpen(_) => ("artifact-store-circuit-open", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Returns the message for the caller, who may learn less than the log.
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
            Self::Rejected(code) => format!("The artifact store rejected the request ({code})."),
            Self::InvalidResponse => {
                "The artifact store sent a response that the appliance does not understand.".into()
            }
            Self::Unreachable(_) => "The appliance could not reach the artifact store.".into(),
            Self::CircuitOpen(_) => {
                "The artifact store has not responded lately, and the appliance probes it from time to time. Try again \
                 shortly."
                    .into()
            }
        }
    }
}
