//! What a caller hears when the appliance itself has to answer: a status, MLflow-shaped JSON, and no more.
//!
//! MLflow clients read `{"error_code", "message"}` and retry on 408, 429, 500 and 502 to 504. The cause goes to the
//! log beside the request id; it may name files, hosts and roles that a caller need not know.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::aws::credentials::Unavailable;
use crate::http::body::{OutgoingError, ReceiveError};
use crate::http::client::{BodyError, ClientError, DialError};
use crate::http::uri::PathError;
use crate::mlflow::store;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::sign_in::SignInError;
use crate::serve::limits::circuit_breaker::CircuitOpen;
use crate::serve::limits::in_flight::LoadShed;
use crate::serve::limits::shares::ShareExceeded;
use crate::serve::upstream::s3_error::S3Error;

/// Tells the appliance's own answers from the upstream's; the value is [`ProxyError::kind`].
pub(crate) const ERROR_HEADER: HeaderName = HeaderName::from_static("x-appliance-error");

/// Seconds after which trying again makes sense, where something passes by itself.
const RETRY_AFTER_S: &str = "5";

/// Why the appliance did not pass a request on, or could not pass back an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// A target in absolute, authority or asterisk form.
    #[error("the request target must be a path")]
    TargetForm,
    /// A method that would hand the appliance's signature back (`TRACE`) or open a tunnel (`CONNECT`).
    #[error("the method is not allowed")]
    Method,
    /// A path that cannot be signed unambiguously.
    #[error("the path is refused")]
    Path(#[from] PathError),
    /// A header that may occur once occurred twice.
    #[error("the header `content-type` is repeated")]
    RepeatedContentType,
    /// The caller may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Sent behind a request that said it was the last of its connection.
    #[error("the connection was to end with an earlier request")]
    AfterTheLast,
    /// More or longer header fields than are served.
    #[error("the header fields are too many or too long")]
    HeadTooLarge,
    /// A WebSocket handshake that would have a body.
    #[error("a WebSocket handshake has a body")]
    HandshakeWithBody,
    /// Nothing is served at this reserved path.
    #[error("there is nothing at this path of the appliance")]
    NoSuchPage,
    /// The path names a target that is not configured, or none where there is no default.
    #[error("there is no such target")]
    UnknownTarget,
    /// AWS has not said yet where the target's artifacts are; with the reason, if it is known.
    #[error("the artifact store of the target is not known yet")]
    StoreUnknown(Option<Arc<String>>),
    /// The artifact service has no such method at this path.
    #[error("the artifact service has no such method here")]
    ArtifactMethod,
    /// An artifact's path that is refused.
    #[error("the artifact's path is refused")]
    ArtifactPath(#[from] store::PathError),
    /// A request to the artifact service that makes no sense; the text says why.
    #[error("the artifact request is refused: {0}")]
    Artifact(String),
    /// A request names a location that is outside of the artifact store.
    #[error("the location `{0}` is outside of the artifact store")]
    ForeignLocation(String),
    /// A request in which locations cannot be told.
    #[error("the locations in the body cannot be told")]
    UnreadableLocations,
    /// The artifacts that are asked for lie outside of the artifact store.
    #[error("the artifacts are at `{0}`, outside of the artifact store")]
    Elsewhere(String),
    /// Bytes may not go through the appliance.
    #[error("artifacts are exchanged by presigned URL only")]
    PresignedOnly,
    /// Callers are to reach S3 through the appliance only.
    #[error("presigned URLs are not handed out")]
    NoPresigned,
    /// The memory for request bodies is used up.
    #[error("the memory for request bodies is used up")]
    Busy,
    /// S3 did not do what it was asked to.
    #[error(transparent)]
    Store(#[from] S3Error),
    /// A document of the upstream did not arrive.
    #[error("the upstream's document did not arrive")]
    Document(#[source] BodyError),
    /// A document of the upstream is not what it should be.
    #[error("the upstream's document is not as expected")]
    UnreadableDocument,
    /// The body was not taken in.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// There is nothing to sign with.
    #[error("no valid AWS credentials")]
    Credentials(#[from] Unavailable),
    /// The upstream gave no answer.
    #[error(transparent)]
    Upstream(ClientError),
    /// The upstream has given none to the last requests, and is not asked for a while.
    #[error("the upstream cannot be reached, and is not asked until it is tried again")]
    CircuitOpen(Duration),
    /// More requests, of all callers or of this one, wait for the upstream or S3 already than it can take.
    #[error("too many requests wait for a connection")]
    Overloaded,
}

#[derive(Serialize)]
struct Body<'a> {
    error_code: &'a str,
    message: String,
    request_id: &'a str,
}

impl From<ClientError> for ProxyError {
    fn from(error: ClientError) -> Self {
        match error {
            // Not the upstream's doing.
            ClientError::Body(OutgoingError::Caller(error)) => Self::Receive(error),
            error => Self::Upstream(error),
        }
    }
}

impl ProxyError {
    /// One word for logs, metrics and [`ERROR_HEADER`].
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Access(refusal) => refusal.kind(),
            Self::TargetForm | Self::Method | Self::Path(_) => "bad-request",
            Self::RepeatedContentType | Self::HandshakeWithBody | Self::AfterTheLast => "bad-request",
            Self::HeadTooLarge => "head-too-large",
            Self::NoSuchPage => "no-such-page",
            Self::UnknownTarget => "no-such-target",
            Self::StoreUnknown(_) => "artifact-store-unknown",
            Self::ArtifactMethod | Self::ArtifactPath(_) | Self::Artifact(_) => "bad-artifact-request",
            Self::ForeignLocation(_) | Self::UnreadableLocations | Self::Elsewhere(_) => "foreign-location",
            Self::PresignedOnly => "presigned-only",
            Self::NoPresigned => "no-presigned",
            Self::Busy => "memory-over-budget",
            Self::Store(failure) => failure.kind(),
            Self::Document(_) | Self::UnreadableDocument => "upstream-invalid",
            Self::Receive(error) => Self::kind_of_body(error),
            Self::Credentials(_) => "no-credentials",
            Self::CircuitOpen(_) => "upstream-circuit-open",
            Self::Overloaded => "overloaded",
            Self::Upstream(error) => Self::kind_of(error),
        }
    }

    /// The kind of the failure of a request that no upstream has answered.
    #[must_use]
    pub(crate) fn kind_of(error: &ClientError) -> &'static str {
        match error {
            ClientError::Dial(DialError::Resolve { .. } | DialError::InvalidName(_)) => "upstream-unresolved",
            ClientError::Dial(DialError::Connect { .. } | DialError::Proxy { .. }) => "upstream-unreachable",
            ClientError::Dial(DialError::Tls { .. }) => "upstream-tls",
            ClientError::Dial(DialError::Timeout { .. }) | ClientError::NoAnswer(_) => "upstream-timeout",
            ClientError::Crowded(_) => "overloaded",
            ClientError::HeadTooLarge { .. } => "head-too-large",
            ClientError::Refused(_) | ClientError::Closed | ClientError::Broken(_) => "upstream-closed",
            ClientError::Invalid(_) => "upstream-invalid",
            ClientError::Body(OutgoingError::Disk(_)) => "spool-failed",
            ClientError::Body(OutgoingError::Caller(error)) => Self::kind_of_body(error),
        }
    }

    fn kind_of_body(error: &ReceiveError) -> &'static str {
        match error {
            ReceiveError::TooLarge { .. } => "body-too-large",
            ReceiveError::NoRoom => "uploads-over-budget",
            ReceiveError::Stalled(_) | ReceiveError::Slow(_) | ReceiveError::Late(_) => "body-stalled",
            ReceiveError::Broken(_) => "body-broken",
            ReceiveError::Disk(_) => "spool-failed",
        }
    }

    /// The status to answer with.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TargetForm | Self::Path(_) => StatusCode::BAD_REQUEST,
            Self::RepeatedContentType | Self::HandshakeWithBody | Self::AfterTheLast => StatusCode::BAD_REQUEST,
            Self::ArtifactPath(_) | Self::Artifact(_) => StatusCode::BAD_REQUEST,
            Self::ForeignLocation(_) | Self::UnreadableLocations => StatusCode::BAD_REQUEST,
            Self::Method | Self::ArtifactMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Access(refusal) => refusal.status(),
            Self::PresignedOnly => StatusCode::FORBIDDEN,
            Self::Elsewhere(_) => StatusCode::FORBIDDEN,
            Self::NoSuchPage | Self::UnknownTarget => StatusCode::NOT_FOUND,
            Self::NoPresigned => StatusCode::NOT_IMPLEMENTED,
            Self::StoreUnknown(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(failure) => failure.status(),
            Self::Document(_) | Self::UnreadableDocument => StatusCode::BAD_GATEWAY,
            Self::Receive(ReceiveError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Receive(ReceiveError::NoRoom) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Upstream(ClientError::Crowded(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge | Self::Upstream(ClientError::HeadTooLarge { .. }) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::CircuitOpen(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Receive(ReceiveError::Stalled(_) | ReceiveError::Slow(_) | ReceiveError::Late(_)) => {
                StatusCode::REQUEST_TIMEOUT
            }
            Self::Receive(ReceiveError::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::Receive(ReceiveError::Disk(_)) | Self::Credentials(_) => StatusCode::SERVICE_UNAVAILABLE,
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

    /// True where the operator, not the caller, has to do something.
    #[must_use]
    pub(crate) fn is_ours(&self) -> bool {
        self.status().is_server_error() || matches!(self, Self::Store(S3Error::Denied { .. }))
    }

    /// MLflow's name for the status (`mlflow.protos.databricks_pb2.ErrorCode`); there is none for 413.
    fn error_code(&self) -> &'static str {
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

    /// What the caller may know, as a sentence that says what to do where the caller can do something.
    fn message(&self) -> String {
        match self {
            Self::TargetForm => "The request target must be a path, as in `GET /api/2.0/…`.".into(),
            Self::Method => "The methods TRACE and CONNECT are not passed on.".into(),
            Self::Path(error) => format!("The request was not passed on: {error}."),
            Self::RepeatedContentType => "The request has more than one Content-Type header.".into(),
            Self::Access(refusal) => refusal.message(),
            Self::AfterTheLast => "An earlier request on this connection said `Connection: close`.".into(),
            Self::HeadTooLarge | Self::Upstream(ClientError::HeadTooLarge { .. }) => {
                "The request has more or longer header fields than are passed on. Remove cookies and other fields that \
                 MLflow does not need."
                    .into()
            }
            Self::HandshakeWithBody => "A WebSocket handshake is a GET without a body.".into(),
            Self::NoSuchPage => "Paths under /_appliance/ are reserved, and there is nothing at this one.".into(),
            Self::UnknownTarget => {
                "There is no MLflow at this path. Use `/t/<name>/` with the name of a target of the appliance.".into()
            }
            Self::StoreUnknown(Some(why)) => format!("The appliance does not know where the artifacts are: {why}."),
            Self::StoreUnknown(None) => {
                "The appliance has not found out yet where the artifacts are. Try again shortly.".into()
            }
            Self::ArtifactMethod => "The artifact service has no such method at this path.".into(),
            Self::ArtifactPath(error) => format!("The artifact's path is refused: {error}."),
            Self::Artifact(reason) => format!("The request for an artifact is refused: {reason}."),
            Self::ForeignLocation(uri) => format!(
                "The location `{uri}` is outside of the artifact store of this MLflow. Leave it out, or write \
                 `mlflow-artifacts:/` and a path. The appliance's operator can allow others with `artifact-elsewhere`."
            ),
            Self::UnreadableLocations => {
                "This request can name locations of artifacts, and the appliance cannot tell which. Its body has to be an \
                 object of JSON in UTF-8, with locations of up to 16 KiB, and with the `key` of a tag before its `value`."
                    .into()
            }
            Self::Elsewhere(uri) => format!(
                "These artifacts are at `{uri}`, outside of the artifact store of this MLflow, and the appliance does not \
                 ask for them there. Its operator can allow it with `artifact-elsewhere`."
            ),
            Self::PresignedOnly => {
                "This appliance takes artifacts by presigned URL only. Use MLflow 3.18 or later, or set \
                 MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true and MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=1."
                    .into()
            }
            // The beginning is what MLflow's client looks for before it sends the file in one piece instead.
            Self::NoPresigned => {
                "Multipart upload is not supported for the current artifact repository: the appliance hands out no \
                 presigned URLs."
                    .into()
            }
            Self::Busy => "The appliance has no memory for this request at the moment. Try again shortly.".into(),
            Self::Store(failure) => failure.message(),
            Self::Document(_) | Self::UnreadableDocument => {
                "Managed MLflow did not answer what the appliance had to ask it for this request.".into()
            }
            Self::Receive(ReceiveError::TooLarge { limit }) => {
                format!("The request body is larger than the appliance's limit of {limit} bytes.")
            }
            Self::Receive(ReceiveError::NoRoom) => {
                "Too many uploads are in progress, yours or those of others. Try again shortly.".into()
            }
            Self::Receive(ReceiveError::Stalled(limit)) => {
                format!("The request body did not arrive: nothing came for {} seconds.", limit.as_secs())
            }
            Self::Receive(ReceiveError::Slow(rate)) => {
                format!("The request body arrived too slowly: a caller has to send {rate} bytes per second.")
            }
            Self::Receive(ReceiveError::Late(limit)) => {
                format!("The request body was not complete after {} seconds.", limit.as_secs())
            }
            Self::Receive(ReceiveError::Broken(_)) => "The request body is incomplete or malformed.".into(),
            Self::Receive(ReceiveError::Disk(_)) => {
                "The appliance has no disk space for this upload at the moment.".into()
            }
            Self::Credentials(unavailable) => {
                format!("The appliance cannot sign requests at the moment: {unavailable}.")
            }
            Self::Upstream(ClientError::Body(_)) => "The appliance failed to prepare the request.".into(),
            Self::Overloaded | Self::Upstream(ClientError::Crowded(_)) => {
                "More requests of this caller, or of all callers together, wait for managed MLflow or S3 than they can \
                 take. Try again shortly, with fewer at a time."
                    .into()
            }
            Self::CircuitOpen(_) => {
                "The managed MLflow endpoint could not be reached of late, and is tried from time to time. Try again \
                 shortly."
                    .into()
            }
            Self::Upstream(error) => match error {
                ClientError::Dial(DialError::Timeout { .. }) => {
                    "The managed MLflow endpoint could not be reached in time.".into()
                }
                ClientError::Dial(_) => "The managed MLflow endpoint could not be reached.".into(),
                ClientError::NoAnswer(limit) => {
                    format!("Managed MLflow did not answer within {} seconds.", limit.as_secs())
                }
                _ => "Managed MLflow closed the connection or gave no valid answer.".into(),
            },
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        if let Self::Access(refusal) = self
            && let Some(wait) = refusal.retry_after()
        {
            return Some(whole_seconds(wait));
        }
        if let Self::CircuitOpen(left) | Self::Store(S3Error::CircuitOpen(left)) = self {
            return Some(whole_seconds(*left));
        }
        matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY
        )
        .then(|| HeaderValue::from_static(RETRY_AFTER_S))
    }

    /// The answer.
    #[must_use]
    pub(crate) fn response(&self, request_id: &str) -> HttpResponse {
        let mut builder = HttpResponseBuilder::new(self.status());
        builder.insert_header((ERROR_HEADER, self.kind()));
        if matches!(self, Self::AfterTheLast | Self::Access(AccessError::Certificate)) {
            builder.force_close();
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"MLflow\""));
        }
        if let Some(seconds) = self.retry_after() {
            builder.insert_header((header::RETRY_AFTER, seconds));
        }
        builder.json(Body { error_code: self.error_code(), message: self.message(), request_id })
    }
}

impl From<CircuitOpen> for ProxyError {
    fn from(open: CircuitOpen) -> Self {
        Self::CircuitOpen(open.remaining)
    }
}

impl From<ShareExceeded> for ProxyError {
    fn from(_: ShareExceeded) -> Self {
        Self::Overloaded
    }
}

impl From<LoadShed> for ProxyError {
    fn from(_: LoadShed) -> Self {
        Self::Overloaded
    }
}

impl From<SignInError> for ProxyError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Access(error) => error.into(),
            SignInError::Form(error) => error.into(),
            SignInError::Memory => Self::Busy,
            SignInError::Method => Self::Method,
        }
    }
}

/// Never too early.
fn whole_seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
