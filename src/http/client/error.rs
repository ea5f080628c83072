//! The reasons why an upstream gave no response, or a truncated one.

use std::io;
use std::time::Duration;

use super::dial_error::DialError;
use super::stream::Closed;
use crate::http::body::OutgoingError;

/// The ways an exchange fails before the head of a response is there.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection was opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// All connections are in use, and none came free in time.
    #[error("no connection to the upstream became free within {0:?}")]
    Crowded(Duration),
    /// The head of the request is larger than the upstream takes. Nothing was sent.
    #[error("the head of the request has {size} bytes, and the upstream takes {limit}")]
    HeadTooLarge {
        /// As HTTP/2 counts them.
        size: usize,
        /// The largest head that the upstream accepts.
        limit: usize,
    },
    /// The upstream took the request and did not answer, or did not take the request.
    #[error("the upstream did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The upstream declared that it has not processed the request (HTTP/2 `REFUSED_STREAM` or `GOAWAY`).
    #[error("the upstream rejected the request without processing it")]
    Refused(#[source] h2::Error),
    /// The upstream ended the connection instead of answering.
    #[error("the upstream closed the connection without answering")]
    Closed,
    /// The connection broke.
    #[error("the connection to the upstream broke")]
    Broken(#[source] io::Error),
    /// The response is not valid HTTP.
    #[error("the upstream's response is not valid HTTP")]
    Invalid(#[source] Box<dyn std::error::Error>),
    /// The request's own body did not go on.
    #[error(transparent)]
    Body(OutgoingError),
}

impl ClientError {
    pub(super) fn from_io(error: io::Error) -> Self {
        if Closed::is(&error) || error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Closed
        } else {
            Self::Broken(error)
        }
    }
}

impl From<h2::Error> for ClientError {
    fn from(error: h2::Error) -> Self {
        if error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM)) {
            return Self::Refused(error);
        }
        if error.is_io() {
            return Self::from_io(error.into_io().expect("just checked"));
        }
        Self::Invalid(Box::new(error))
    }
}

/// The reason why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed the connection before the announced end.
    #[error("the upstream ended the response before it was complete")]
    Truncated,
    /// The connection broke.
    #[error("the connection to the upstream broke during the response")]
    Broken(#[source] Box<dyn std::error::Error>),
    /// The body is larger than the limit for bodies in memory.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// No byte came within the idle timeout.
    #[error("the upstream's response stalled for {0:?}")]
    Stalled(Duration),
}
