//! The kind of each proxy error: one word, which metrics, logs and the header `x-appliance-error` show.

use crate::http::body::{OutgoingError, RequestBodyError};
use crate::http::client::{ClientError, DialError};
use crate::serve::error::proxy_error::ProxyError;

impl ProxyError {
    /// The word in logs, metrics and the header.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Access(error) => error.kind(),
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
            Self::Store(error) => error.kind(),
            Self::Document(_) | Self::UnreadableDocument => "upstream-invalid",
            Self::Receive(error) => Self::kind_of_body(error),
            Self::Credentials(_) => "no-credentials",
            Self::CircuitOpen(_) => "upstream-circuit-open",
            Self::Overloaded => "overloaded",
            Self::Upstream(error) => Self::kind_of(error),
        }
    }

    /// The kind of a request's failure to which no upstream has responded.
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

    fn kind_of_body(error: &RequestBodyError) -> &'static str {
        match error {
            RequestBodyError::TooLarge { .. } => "body-too-large",
            RequestBodyError::NoRoom => "uploads-over-budget",
            RequestBodyError::Stalled(_) | RequestBodyError::Slow(_) | RequestBodyError::Late(_) => "body-stalled",
            RequestBodyError::Broken(_) => "body-broken",
            RequestBodyError::ForeignMd5 => "bad-digest",
            RequestBodyError::Disk(_) => "spool-failed",
        }
    }
}
