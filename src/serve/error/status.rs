//! The status of each proxy error, and MLflow's error code for it.

use actix_web::http::StatusCode;

use crate::http::body::RequestBodyError;
use crate::http::client::{ClientError, DialError};
use crate::serve::error::proxy_error::ProxyError;
use crate::serve::error::s3_error::S3Error;

impl ProxyError {
    /// The status of the response.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TargetForm | Self::Path(_) => StatusCode::BAD_REQUEST,
            Self::RepeatedContentType | Self::HandshakeWithBody | Self::AfterTheLast => StatusCode::BAD_REQUEST,
            Self::ArtifactPath(_) | Self::Artifact(_) => StatusCode::BAD_REQUEST,
            Self::ForeignLocation(_) | Self::UnreadableLocations => StatusCode::BAD_REQUEST,
            Self::Method | Self::ArtifactMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Access(error) => error.status(),
            Self::PresignedOnly => StatusCode::FORBIDDEN,
            Self::Elsewhere(_) => StatusCode::FORBIDDEN,
            Self::NoSuchPage | Self::UnknownTarget => StatusCode::NOT_FOUND,
            Self::NoPresigned => StatusCode::NOT_IMPLEMENTED,
            Self::StoreUnknown(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(error) => error.status(),
            Self::Document(_) | Self::UnreadableDocument => StatusCode::BAD_GATEWAY,
            Self::Receive(RequestBodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Receive(RequestBodyError::NoRoom) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Upstream(ClientError::Crowded(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge | Self::Upstream(ClientError::HeadTooLarge { .. }) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::CircuitOpen(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Receive(RequestBodyError::Stalled(_) | RequestBodyError::Slow(_) | RequestBodyError::Late(_)) => {
                StatusCode::REQUEST_TIMEOUT
            }
            Self::Receive(RequestBodyError::Broken(_) | RequestBodyError::ForeignMd5) => StatusCode::BAD_REQUEST,
            Self::Receive(RequestBodyError::Disk(_)) | Self::Credentials(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(ClientError::Body(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream(ClientError::Dial(DialError::Timeout { .. }) | ClientError::NoAnswer(_)) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Upstream(
                ClientError::Dial(
                    DialError::Resolve { .. }
                    | DialError::Connect { .. }
                    | DialError::Proxy { .. }
                    | DialError::Tls { .. }
                    | DialError::InvalidName(_),
                )
                | ClientError::Refused(_)
                | ClientError::Closed
                | ClientError::Broken(_)
                | ClientError::Invalid(_),
            ) => StatusCode::BAD_GATEWAY,
        }
    }

    /// True if the operator, and not the caller, has to do something.
    #[must_use]
    pub(crate) fn is_ours(&self) -> bool {
        self.status().is_server_error() || matches!(self, Self::Store(S3Error::Denied { .. }))
    }

    /// MLflow's name for the status (`mlflow.protos.databricks_pb2.ErrorCode`); there is none for 413.
    pub(crate) fn error_code(&self) -> &'static str {
        match self.status() {
            _ if matches!(self, Self::Store(S3Error::Missing)) => "RESOURCE_DOES_NOT_EXIST",
            _ if matches!(self, Self::ArtifactPath(_) | Self::Artifact(_)) => "INVALID_PARAMETER_VALUE",
            _ if matches!(self, Self::ForeignLocation(_) | Self::UnreadableLocations) => "INVALID_PARAMETER_VALUE",
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
