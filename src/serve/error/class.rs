//! The class of each proxy error: the error code, which metrics, logs and the header `x-appliance-error` show, the status, and
//! MLflow's name for the status.

use actix_web::http::StatusCode;

use crate::http::body::{OutgoingError, RequestBodyError};
use crate::http::client::{ClientError, DialError};
use crate::serve::error::proxy_error::ProxyError;
use crate::serve::error::s3_error::S3Error;

impl ProxyError {
    /// The error code for logs, metrics and the header.
    pub(crate) fn error_code(&self) -> &'static str {
        self.class().0
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.class().1
    }

    fn class(&self) -> (&'static str, StatusCode) {
        match self {
            Self::TargetForm | Self::Path(_) | Self::RepeatedContentType => ("bad-request", StatusCode::BAD_REQUEST),
            Self::HandshakeWithBody | Self::AfterTheLast => ("bad-request", StatusCode::BAD_REQUEST),
            Self::Method => ("bad-request", StatusCode::METHOD_NOT_ALLOWED),
            Self::Access(error) => error.class(),
            Self::HeadTooLarge => ("head-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::NoSuchPage => ("no-such-page", StatusCode::NOT_FOUND),
            Self::UnknownTarget => ("no-such-target", StatusCode::NOT_FOUND),
            Self::ArtifactStoreUnknown(_) => ("artifact-store-unknown", StatusCode::SERVICE_UNAVAILABLE),
            Self::ArtifactMethod => ("bad-artifact-request", StatusCode::METHOD_NOT_ALLOWED),
            Self::ArtifactPath(_) | Self::Artifact(_) => ("bad-artifact-request", StatusCode::BAD_REQUEST),
            Self::ForeignLocation(_) | Self::UnreadableLocations | Self::ReservedTraceTag | Self::UnreadableSpans => {
                ("foreign-location", StatusCode::BAD_REQUEST)
            }
            Self::StoredElsewhere(_) => ("foreign-location", StatusCode::FORBIDDEN),
            Self::PresignedOnly => ("presigned-only", StatusCode::FORBIDDEN),
            Self::NoPresigned => ("no-presigned", StatusCode::NOT_IMPLEMENTED),
            Self::MemoryOverBudget => ("memory-over-budget", StatusCode::SERVICE_UNAVAILABLE),
            Self::PersonalTokens(_) => ("personal-tokens-unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::S3(error) => error.class(),
            Self::Document(_) | Self::UnreadableDocument => ("upstream-invalid", StatusCode::BAD_GATEWAY),
            Self::RequestBody(error) => class_of_body(error),
            Self::Credentials(_) => ("no-credentials", StatusCode::SERVICE_UNAVAILABLE),
            Self::CircuitOpen(_) => ("upstream-circuit-open", StatusCode::SERVICE_UNAVAILABLE),
            Self::Overloaded => ("overloaded", StatusCode::TOO_MANY_REQUESTS),
            Self::Upstream(error) => class_of_upstream(error),
        }
    }

    /// The error code of a request's failure to which no upstream has responded.
    pub(crate) fn code_of(error: &ClientError) -> &'static str {
        class_of_upstream(error).0
    }

    /// True if the operator, and not the caller, has to do something.
    pub(crate) fn concerns_operator(&self) -> bool {
        self.status().is_server_error() || matches!(self, Self::S3(S3Error::Denied { .. }))
    }

    /// MLflow's name for the status (`mlflow.protos.databricks_pb2.ErrorCode`); there is none for 413.
    pub(crate) fn mlflow_error_code(&self) -> &'static str {
        match self.status() {
            _ if matches!(self, Self::S3(S3Error::Missing)) => "RESOURCE_DOES_NOT_EXIST",
            _ if matches!(self, Self::ArtifactPath(_) | Self::Artifact(_)) => "INVALID_PARAMETER_VALUE",
            StatusCode::BAD_REQUEST if self.error_code() == "foreign-location" => "INVALID_PARAMETER_VALUE",
            StatusCode::NOT_IMPLEMENTED => "NOT_IMPLEMENTED",
            StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
            StatusCode::FORBIDDEN => "PERMISSION_DENIED",
            StatusCode::NOT_FOUND => "ENDPOINT_NOT_FOUND",
            StatusCode::TOO_MANY_REQUESTS => "REQUEST_LIMIT_EXCEEDED",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => "TEMPORARILY_UNAVAILABLE",
            StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
            StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL_ERROR",
            _ => "BAD_REQUEST",
        }
    }
}

fn class_of_upstream(error: &ClientError) -> (&'static str, StatusCode) {
    match error {
        ClientError::Dial(DialError::Resolve { .. } | DialError::InvalidName(_)) => {
            ("upstream-unresolved", StatusCode::BAD_GATEWAY)
        }
        ClientError::Dial(DialError::Connect { .. } | DialError::Proxy { .. }) => {
            ("upstream-unreachable", StatusCode::BAD_GATEWAY)
        }
        ClientError::Dial(DialError::Tls { .. }) => ("upstream-tls", StatusCode::BAD_GATEWAY),
        ClientError::Dial(DialError::Timeout { .. }) | ClientError::NoAnswer(_) => {
            ("upstream-timeout", StatusCode::GATEWAY_TIMEOUT)
        }
        ClientError::Crowded(_) => ("overloaded", StatusCode::TOO_MANY_REQUESTS),
        ClientError::HeadTooLarge { .. } => ("head-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        ClientError::Refused(_) | ClientError::Closed | ClientError::Broken(_) => {
            ("upstream-closed", StatusCode::BAD_GATEWAY)
        }
        ClientError::Invalid(_) => ("upstream-invalid", StatusCode::BAD_GATEWAY),
        ClientError::Body(OutgoingError::Disk(_)) => ("spool-failed", StatusCode::INTERNAL_SERVER_ERROR),
        ClientError::Body(OutgoingError::Caller(error)) => class_of_body(error),
    }
}

fn class_of_body(error: &RequestBodyError) -> (&'static str, StatusCode) {
    match error {
        RequestBodyError::TooLarge { .. } => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
        RequestBodyError::NoRoom => ("uploads-over-budget", StatusCode::TOO_MANY_REQUESTS),
        RequestBodyError::Stalled(_) | RequestBodyError::Slow(_) | RequestBodyError::Late(_) => {
            ("body-stalled", StatusCode::REQUEST_TIMEOUT)
        }
        RequestBodyError::Broken(_) => ("body-broken", StatusCode::BAD_REQUEST),
        RequestBodyError::ForeignMd5 => ("bad-digest", StatusCode::BAD_REQUEST),
        RequestBodyError::Disk(_) => ("spool-failed", StatusCode::SERVICE_UNAVAILABLE),
    }
}
