//! One HTTP/1.1 connection: it sends a request and reads the head of the response.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use actix_http::error::ParseError;
use actix_http::h1::ClientCodec;
use actix_http::{ResponseHead, ServiceConfig};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::codec::Decoder as _;

use crate::http::body::Outgoing;
use crate::http::client::error::ClientError;
use crate::http::client::request::Request;
use crate::http::client::stream::UpstreamStream;

/// Room for a piece of a large body, a TLS record. Bytes.
const LARGE_READ: usize = 16 * 1024;
/// A body up to this size goes out in one piece with the head. Bytes.
const JOINED: usize = 16 * 1024;
/// The number of pieces that go out together.
const SLICES: usize = 32;

/// An open connection and what has been read from it and not been used yet.
pub(crate) struct Http1Connection {
    stream: UpstreamStream,
    pub(super) unread: BytesMut,
    /// When it was made.
    pub(super) opened: Instant,
}

impl Http1Connection {
    pub(super) fn new(stream: UpstreamStream) -> Self {
        Self { stream, unread: BytesMut::new(), opened: Instant::now() }
    }

    /// True unless the upstream has closed the connection, or has sent bytes without a request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        self.unread.is_empty() && Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Reads more; an end of the connection is an error.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>, is_large: bool) -> Poll<std::io::Result<()>> {
        if !is_large {
            // A connection that waits for a response holds no memory for it.
            return self.stream.poll_append(context, &mut self.unread);
        }
        if self.unread.capacity() - self.unread.len() < LARGE_READ / 2 {
            self.unread.reserve(LARGE_READ);
        }
        let reading = pin!(self.stream.read_buf(&mut self.unread));
        reading.poll(context).map_ok(drop)
    }

    /// Sends a request and waits for the head of its answer; with it the codec that reads the rest, and whether all was
    /// sent by then.
    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &mut Outgoing,
        config: &ServiceConfig,
    ) -> Result<(ResponseHead, ClientCodec, bool), ClientError> {
        let mut sending = Sending {
            head: head(request, body.size()),
            piece: Bytes::new(),
            more: VecDeque::new(),
            is_unflushed: true,
        };
        let mut is_sent = false;
        let mut failure = None;
        let (head, codec) = poll_fn(|context| {
            if !is_sent && failure.is_none() {
                match sending.poll(&mut self.stream, body, context) {
                    Poll::Ready(Ok(())) => is_sent = true,
                    Poll::Ready(Err(error @ ClientError::Body(_))) => return Poll::Ready(Err(error)),
                    // If the upstream stopped taking the request, its answer says why.
                    Poll::Ready(Err(error)) => {
                        body.abandon();
                        failure = Some(error);
                    }
                    Poll::Pending => {}
                }
            }
            let answer = self.poll_head(context, config);
            match (answer, &mut failure) {
                (Poll::Ready(Err(_)), Some(_)) => Poll::Ready(Err(failure.take().expect("just seen"))),
                (answer, _) => answer,
            }
        })
        .await?;
        Ok((head, codec, is_sent))
    }

    /// The head of the answer, after those that only announce it.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        config: &ServiceConfig,
    ) -> Poll<Result<(ResponseHead, ClientCodec), ClientError>> {
        loop {
            if !self.unread.is_empty() {
                let mut codec = ClientCodec::new(config.clone());
                match codec.decode(&mut self.unread).map_err(invalid)? {
                    Some(head) if is_interim(head.status) => continue,
                    Some(head) => return Poll::Ready(Ok((head, codec))),
                    None => {}
                }
            }
            ready!(self.poll_more(context, false)).map_err(ClientError::from_io)?;
        }
    }
}

/// True for 1xx other than 101, after which the connection speaks another protocol.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn invalid(error: ParseError) -> ClientError {
    match error {
        ParseError::Io(error) => ClientError::from_io(error),
        error => ClientError::Invalid(Box::new(error)),
    }
}

/// The rest of a request that is still to be written.
struct Sending {
    /// The head, with the beginning of the body if that is small.
    head: BytesMut,
    piece: Bytes,
    /// The pieces that were made together with it.
    more: VecDeque<Bytes>,
    is_unflushed: bool,
}

impl Sending {
    /// Ready when all is out.
    fn poll(
        &mut self,
        stream: &mut UpstreamStream,
        body: &mut Outgoing,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ClientError>> {
        loop {
            if self.piece.is_empty() {
                match Pin::new(&mut *body).poll_next(context) {
                    Poll::Ready(Some(Ok(piece))) if self.joins(&piece, body) => {
                        self.head.extend_from_slice(&piece);
                        continue;
                    }
                    Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(ClientError::Body(error))),
                    Poll::Ready(None) if self.head.is_empty() => {
                        if self.is_unflushed {
                            ready!(Pin::new(stream).poll_flush(context)).map_err(ClientError::from_io)?;
                            self.is_unflushed = false;
                            // The answer may take long, and needs none of its room.
                            self.head = BytesMut::new();
                        }
                        return Poll::Ready(Ok(()));
                    }
                    // The bytes at hand go out while more are read from disk.
                    Poll::Pending if self.head.is_empty() => return Poll::Pending,
                    Poll::Ready(None) | Poll::Pending => {}
                }
            }
            while self.head.has_remaining() {
                let written = ready!(Pin::new(&mut *stream).poll_write(context, &self.head));
                self.head.advance(taken(written)?);
            }
            while self.piece.has_remaining() {
                while self.more.len() < SLICES - 1
                    && let Some(piece) = body.next_at_hand()
                {
                    self.more.push_back(piece);
                }
                let written = ready!(self.poll_pieces(stream, context));
                self.advance(taken(written)?);
            }
        }
    }

    /// True if a piece is copied behind the head. A small piece whose followers are at hand goes out with them, without a copy.
    fn joins(&self, piece: &Bytes, body: &Outgoing) -> bool {
        self.head.len() + piece.len() <= JOINED && (!self.head.is_empty() || !body.has_more_at_hand())
    }

    /// Writes the pieces together, so that small ones need no TLS record of their own.
    fn poll_pieces(&self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.more.is_empty() {
            return Pin::new(stream).poll_write(context, &self.piece);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let pieces = [&self.piece].into_iter().chain(&self.more);
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        Pin::new(stream).poll_write_vectored(context, &slices[..=self.more.len()])
    }

    /// Drops what has been written.
    fn advance(&mut self, mut written: usize) {
        while written >= self.piece.len() {
            written -= self.piece.len();
            let Some(next) = self.more.pop_front() else {
                // An empty slice would hold the buffer that the piece was in, and the listener could not read into it again.
                self.piece = Bytes::new();
                return;
            };
            self.piece = next;
        }
        self.piece.advance(written);
    }
}

fn taken(written: std::io::Result<usize>) -> Result<usize, ClientError> {
    match written {
        Ok(0) => Err(ClientError::Closed),
        Ok(count) => Ok(count),
        Err(error) => Err(ClientError::from_io(error)),
    }
}

/// The head of a request as it is written, with the one field that frames its body.
fn head(request: &Request<'_>, size: BodySize) -> BytesMut {
    let mut head = BytesMut::with_capacity(2048);
    let mut put = |text: &[u8]| head.extend_from_slice(text);
    put(request.method.as_str().as_bytes());
    put(b" ");
    put(request.target.as_bytes());
    put(b" HTTP/1.1\r\n");
    for (name, value) in request.headers {
        put(name.as_str().as_bytes());
        put(b": ");
        put(value.as_bytes());
        put(b"\r\n");
    }
    if let BodySize::Sized(length) = size {
        put(b"content-length: ");
        put(itoa::Buffer::new().format(length).as_bytes());
        put(b"\r\n");
    }
    put(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::rt::System;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::http::client::connections::ConnectionCounts;
    use crate::http::client::stream::Io;

    #[test]
    fn a_small_body_stays_in_the_buffer_of_its_head() {
        System::new().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut theirs, _) = listener.accept().await.unwrap();
            theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();

            let held = Arc::new(ConnectionCounts::default()).hold();
            let mut connection = Http1Connection::new(UpstreamStream::new(Io::Left(ours), held));
            let config = ServiceConfig::default();
            let (head, _) = poll_fn(|context| connection.poll_head(context, &config)).await.unwrap();
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(connection.unread, "{}");
            let room = connection.unread.capacity();
            assert!(room < 8 * 1024, "actix has made a buffer of {room} bytes");
        });
    }
}
