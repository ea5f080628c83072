//! The reasons why a request body is rejected.

use std::io;
use std::time::Duration;

use actix_web::error::PayloadError;

use super::content_md5::ForeignMd5;

/// The reason why a request body was rejected.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Larger than allowed, by its announcement or in fact.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// [`BodyLimits::size_limit`](super::limits::BodyLimits::size_limit).
        limit: u64,
    },
    /// Uploads hold the disk budget, or the caller's or the address's share of it.
    #[error("uploads have used up the disk budget, or the share of this caller or this address")]
    NoRoom,
    /// The caller sent nothing for too long.
    #[error("the request body stalled for {0:?}")]
    Stalled(Duration),
    /// The caller sent fewer bytes per second than this.
    #[error("the request body arrived at less than {0} bytes per second")]
    Slow(u64),
    /// The body was not complete within this time.
    #[error("the request body was not complete after {0:?}")]
    Late(Duration),
    /// The caller disconnected or broke the framing.
    #[error("the request body is incomplete or malformed")]
    Broken(#[source] PayloadError),
    /// The body is not the one whose `Content-MD5` the caller sent.
    #[error("the request body does not match its `Content-MD5`")]
    ForeignMd5,
    /// The disk failed, most likely full.
    #[error("cannot write the request body to disk")]
    Disk(#[source] io::Error),
}

impl From<PayloadError> for RequestBodyError {
    fn from(error: PayloadError) -> Self {
        match &error {
            PayloadError::Io(inner)
                if inner.get_ref().is_some_and(|inner| inner.downcast_ref::<ForeignMd5>().is_some()) =>
            {
                Self::ForeignMd5
            }
            _ => Self::Broken(error),
        }
    }
}
