//! The errors with which the appliance itself answers a request.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::credentials::CredentialsUnavailable;
use crate::http::body::{OutgoingError, RequestBodyError};
use crate::http::client::{BodyError, ClientError};
use crate::http::uri::RequestPathError;
use crate::mlflow::store;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::personal_store::ChangeError;
use crate::serve::auth::sign_in_response::SignInError;
use crate::serve::error::s3_error::S3Error;
use crate::serve::limits::circuit_breaker::CircuitOpen;
use crate::serve::limits::shares::ShareExceeded;

/// The reason why the appliance rejects a request, or cannot forward its response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// A target in absolute, authority or asterisk form.
    #[error("the request target must be a path")]
    TargetForm,
    /// A method that would hand the appliance's signature back (`TRACE`) or open a tunnel (`CONNECT`).
    #[error("the method is not allowed")]
    Method,
    /// A path that cannot be signed unambiguously.
    #[error("the path is rejected")]
    Path(#[from] RequestPathError),
    /// A header that may occur once occurred twice.
    #[error("the header `content-type` is repeated")]
    RepeatedContentType,
    /// The caller is not authenticated, or is not allowed to send this request, or the appliance could not find out.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The request follows one that announced to be the last of its connection.
    #[error("a request arrived after one with `Connection: close`")]
    AfterTheLast,
    /// More or longer header fields than are served.
    #[error("the header fields are too many or too long")]
    HeadTooLarge,
    /// A WebSocket handshake that would have a body.
    #[error("a WebSocket handshake has a body")]
    HandshakeWithBody,
    /// This reserved path has no page.
    #[error("there is nothing at this path of the appliance")]
    NoSuchPage,
    /// The path names a target that is not configured, or none where there is no default.
    #[error("there is no such target")]
    UnknownTarget,
    /// AWS has not described the target's artifact store yet; with the reason, if it is known.
    #[error("the artifact store of the target is not known yet")]
    ArtifactStoreUnknown(Option<Arc<String>>),
    /// The artifact service has no such method at this path.
    #[error("the artifact service has no such method here")]
    ArtifactMethod,
    /// The path of an artifact is malformed.
    #[error("the artifact's path is rejected")]
    ArtifactPath(#[from] store::ArtifactPathError),
    /// A request to the artifact service is malformed; the text says why.
    #[error("the artifact request is rejected: {0}")]
    Artifact(String),
    /// A request names a location that is outside of the artifact store.
    #[error("the location `{0}` is outside of the artifact store")]
    ForeignLocation(String),
    /// The appliance cannot find the artifact locations in a request.
    #[error("the artifact locations in the body cannot be found")]
    UnreadableLocations,
    /// A span has an attribute of which MLflow would make a tag of its own.
    #[error("a span has an attribute `mlflow.traceTag.mlflow.…`")]
    ReservedTraceTag,
    /// The appliance cannot read the spans in a request.
    #[error("the spans in the body cannot be read")]
    UnreadableSpans,
    /// The requested artifacts are outside of the artifact store.
    #[error("the artifacts are at `{0}`, outside of the artifact store")]
    StoredElsewhere(String),
    /// Artifacts may not go through the appliance.
    #[error("artifacts are exchanged by presigned URL only")]
    PresignedOnly,
    /// Callers reach S3 through the appliance only.
    #[error("the appliance issues no presigned URLs")]
    NoPresigned,
    /// The memory for request bodies is used up.
    #[error("the memory for request bodies is used up")]
    MemoryOverBudget,
    /// The personal tokens cannot be changed.
    #[error("the personal tokens cannot be changed")]
    PersonalTokens(#[from] ChangeError),
    /// A call to S3 has failed.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A document of the upstream did not arrive.
    #[error("the upstream's document did not arrive")]
    Document(#[source] BodyError),
    /// A document of the upstream is not as documented.
    #[error("the upstream's document is not as expected")]
    UnreadableDocument,
    /// The body did not arrive.
    #[error(transparent)]
    RequestBody(#[from] RequestBodyError),
    /// There are no credentials to sign with.
    #[error("there are no valid AWS credentials")]
    Credentials(#[from] CredentialsUnavailable),
    /// The upstream did not respond.
    #[error(transparent)]
    Upstream(ClientError),
    /// The upstream has not responded to the last requests, and gets none for this long.
    #[error("the upstream cannot be reached; the circuit breaker is open until it responds to a probe")]
    CircuitOpen(Duration),
    /// More requests, of this caller or of all callers, wait for the upstream or S3 than it can take.
    #[error("too many requests wait for a connection")]
    Overloaded,
}

impl From<ClientError> for ProxyError {
    fn from(error: ClientError) -> Self {
        match error {
            // The upstream has not caused this.
            ClientError::Body(OutgoingError::Caller(error)) => Self::RequestBody(error),
            error => Self::Upstream(error),
        }
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

impl From<SignInError> for ProxyError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Access(error) => error.into(),
            SignInError::Form(error) => error.into(),
            SignInError::Memory => Self::MemoryOverBudget,
            SignInError::Method => Self::Method,
            SignInError::NoSuchPage => Self::NoSuchPage,
        }
    }
}
