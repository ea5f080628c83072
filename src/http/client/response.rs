//! The head of a response, and its body as a stream that ends completely or with an error, never truncated.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode, Version};
use bytes::{Bytes, BytesMut};

use super::error::BodyError;
use super::framing::size;
use super::http1::{Http1Body, Http1Response};
use super::http2::{Http2Response, Lease};
use crate::http::headers::content_length;
use crate::http::idle_timer::IdleTimer;

/// An upstream's response. It is boxed from the beginning, since many functions pass it on and each would copy its 400 bytes.
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

/// A body being received. It yields no empty piece, and an error if the upstream stops before the announced end.
pub struct ResponseBody {
    source: ResponseSource,
    size: BodySize,
    /// The bytes that are still to come, where the upstream has announced them.
    left: Option<u64>,
    silence: IdleTimer,
}

enum ResponseSource {
    Http1(Http1Body),
    Http2(h2::RecvStream, Lease),
}

impl Response {
    pub(super) fn from_http1(response: Http1Response) -> Box<Self> {
        let Http1Response { status, version, headers, announced, size, body } = response;
        let body = ResponseBody::new(ResponseSource::Http1(body), size);
        Box::new(Self { status, version, headers, announced, body })
    }

    pub(super) fn from_http2(response: Http2Response) -> Box<Self> {
        let Http2Response { head, body, lease, method } = response;
        let headers: HeaderMap = head.headers.into();
        let announced = content_length(&headers);
        let framing = size(&method, head.status, announced);
        let mut body = ResponseBody::new(ResponseSource::Http2(body, lease), framing);
        if method == Method::HEAD {
            body.left = None;
        }
        Box::new(Self { status: head.status, version: head.version, headers, announced, body })
    }

    pub(super) fn with_idle_timeout(mut self: Box<Self>, idle_timeout: Duration) -> Box<Self> {
        self.body.silence = IdleTimer::new(idle_timeout);
        self
    }
}

impl ResponseBody {
    fn new(source: ResponseSource, size: BodySize) -> Self {
        let left = match (&source, size) {
            // The framing of HTTP/1.1 has its own count.
            (ResponseSource::Http2(..), BodySize::Sized(length)) => Some(length),
            _ => None,
        };
        Self { source, size, left, silence: IdleTimer::new(Duration::MAX) }
    }

    /// The whole body, if it is no larger than `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut all = BytesMut::new();
        // The response to a `HEAD` has a size and no body, but is never collected.
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
            ResponseSource::Http1(body) => body.poll_next(context),
            ResponseSource::Http2(stream, lease) => stream.poll_data(context).map(|piece| match piece {
                // An upstream that has answered an upload without reading it to its end sends this after the complete
                // answer (RFC 9113 §8.1). From a `GOAWAY`, or without such an upload, it says nothing about the answer.
                Some(Err(error))
                    if error.is_reset()
                        && error.is_remote()
                        && error.reason() == Some(h2::Reason::NO_ERROR)
                        && (lease.has_upload() || self.left.is_some()) =>
                {
                    None
                }
                Some(Err(error)) => Some(Err(BodyError::Broken(Box::new(error)))),
                Some(Ok(piece)) => {
                    // Only what has been taken may be sent again: this is what keeps memory bounded.
                    let _ = stream.flow_control().release_capacity(piece.len());
                    self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
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
        loop {
            match this.poll_source(context) {
                // An empty piece is no end and no progress: HTTP/2 may send empty DATA frames at any time, while a chunk of
                // no bytes would end a chunked body, and a sender that waits for room for no bytes waits for ever.
                Poll::Ready(Some(Ok(piece))) if piece.is_empty() => {}
                Poll::Ready(None) if this.left.is_some_and(|left| left > 0) => {
                    this.left = None;
                    return Poll::Ready(Some(Err(BodyError::Truncated)));
                }
                Poll::Ready(piece) => {
                    this.silence.note_progress();
                    return Poll::Ready(piece);
                }
                Poll::Pending => {
                    std::task::ready!(this.silence.poll(context));
                    return Poll::Ready(Some(Err(BodyError::Stalled(this.silence.limit()))));
                }
            }
        }
    }
}
