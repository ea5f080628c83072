//! The head of a response, and its body as a stream that ends in order or with an error, never short.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode, Version};
use bytes::{Bytes, BytesMut};

use super::http1;
use super::http2::Lease;
use crate::http::headers::content_length;
use crate::http::silence::Silence;

/// What an upstream answered.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.0, 1.1 or 2.
    pub version: Version,
    /// The headers as received.
    pub headers: HeaderMap,
    /// The announced length of the body in bytes. For the response to a `HEAD`, what a `GET` would have got.
    pub announced: Option<u64>,
    /// The body, yet to be read.
    pub body: ResponseBody,
}

/// A body being received. Yields an error if the upstream stops before the announced end.
pub struct ResponseBody {
    source: Source,
    size: BodySize,
    silence: Silence,
}

enum Source {
    Http1(http1::Body),
    Http2(h2::RecvStream, #[expect(dead_code, reason = "held for its drop")] Lease),
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed the connection before the announced end.
    #[error("the upstream ended the response before it was complete")]
    Truncated,
    /// The connection broke.
    #[error("the connection to the upstream broke during the response")]
    Broken(#[source] Box<dyn std::error::Error>),
    /// Larger than what is read into memory.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// Nothing came for too long.
    #[error("the upstream's response stalled for {0:?}")]
    Stalled(Duration),
}

impl Response {
    pub(super) fn from_http1(
        status: StatusCode,
        version: Version,
        headers: HeaderMap,
        announced: Option<u64>,
        size: BodySize,
        body: http1::Body,
    ) -> Self {
        Self { status, version, headers, announced, body: ResponseBody::new(Source::Http1(body), size) }
    }

    pub(super) fn from_http2(response: http::Response<h2::RecvStream>, lease: Lease, method: &Method) -> Self {
        let (head, stream) = response.into_parts();
        let headers: HeaderMap = head.headers.into();
        let announced = content_length(&headers);
        // h2 itself holds the peer to the announced length and tells an end from a break.
        let body = ResponseBody::new(Source::Http2(stream, lease), size(method, head.status, announced));
        Self { status: head.status, version: head.version, headers, announced, body }
    }

    pub(super) fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.body.silence = Silence::new(idle_timeout);
        self
    }
}

/// How a body is framed when it is passed on.
pub(super) fn size(method: &Method, status: StatusCode, announced: Option<u64>) -> BodySize {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    match announced {
        _ if bodiless => BodySize::None,
        Some(length) => BodySize::Sized(length),
        // For HEAD a length is announced and nothing follows; without one there is nothing to say.
        None if *method == Method::HEAD => BodySize::None,
        None => BodySize::Stream,
    }
}

impl ResponseBody {
    fn new(source: Source, size: BodySize) -> Self {
        Self { source, size, silence: Silence::new(Duration::MAX) }
    }

    /// The whole body, if it is no larger than `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut all = BytesMut::new();
        // The answer to a `HEAD` has a size and no body, but nobody collects one.
        while let Some(piece) = std::future::poll_fn(|context| Pin::new(&mut self).poll_next(context)).await {
            let piece = piece?;
            if all.len() + piece.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.source {
            Source::Http1(body) => body.poll_next(context),
            Source::Http2(stream, _) => stream.poll_data(context).map(|piece| match piece {
                // Sent after a complete answer to an upload that was not read to its end (RFC 9113 §8.1).
                Some(Err(error)) if error.reason() == Some(h2::Reason::NO_ERROR) => None,
                Some(Err(error)) => Some(Err(BodyError::Broken(Box::new(error)))),
                Some(Ok(piece)) => {
                    // Only what has been taken may be sent again: this is what keeps memory bounded.
                    let _ = stream.flow_control().release_capacity(piece.len());
                    Some(Ok(piece))
                }
                None => None,
            }),
        }
    }
}

impl MessageBody for ResponseBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        match this.poll_source(context) {
            Poll::Ready(piece) => {
                this.silence.end();
                Poll::Ready(piece)
            }
            Poll::Pending => match this.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::Stalled(this.silence.limit())))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
