//! A connection to an upstream, plain or TLS, whose end is an error, so that a truncated body is never taken for complete.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::connections::OpenConnection;
use super::read_ahead::ReadAhead;
use crate::http::forward_writes::forward_writes;
use crate::http::tls::HTTP2;

/// The peer ended the connection in an orderly way.
///
/// The framing of the message decides whether it was complete by then, so the end is an error here, and the code that knows
/// the framing judges it.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed")]
pub(super) struct Closed;

impl Closed {
    /// True if `error` is this one.
    #[must_use]
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the path of `is` on a trait object is unreadable")]
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }

    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, Self)
    }
}

/// Room for a head or a small body. Bytes.
pub(super) const SMALL_READ: usize = 4 * 1024;
/// The room that is left behind what has come. Where less is left behind a head, actix's codec makes a buffer of 32 KiB and
/// copies the beginning of the body there. Bytes.
const SPARE: usize = 2 * 1024;

/// An open connection, which is counted as such.
pub struct UpstreamStream {
    io: Io,
    _open: OpenConnection,
}

/// A connection without TLS, to a server on this machine, or one with TLS.
pub(super) type Io = Either<TcpStream, Box<TlsStream<ReadAhead>>>;

impl UpstreamStream {
    pub(super) fn new(io: Io, open: OpenConnection) -> Self {
        Self { io, _open: open }
    }

    /// True if the TLS handshake agreed on HTTP/2.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        matches!(&self.io, Either::Right(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP2))
    }

    /// Appends what has come to `unread`, which gets room for that and [`SPARE`] more. The end of the connection is an error.
    pub(super) fn poll_append(&mut self, context: &mut Context<'_>, unread: &mut BytesMut) -> Poll<io::Result<()>> {
        let Either::Right(stream) = &mut self.io else {
            let mut room = [MaybeUninit::uninit(); SMALL_READ];
            let mut piece = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut *self).poll_read(context, &mut piece))?;
            unread.reserve(piece.filled().len() + SPARE);
            unread.extend_from_slice(piece.filled());
            return Poll::Ready(Ok(()));
        };
        let mut stream = Pin::new(&mut **stream);
        // This lends the bytes that rustls has decrypted, so that they are copied once.
        let piece = ready!(stream.as_mut().poll_fill_buf(context))?;
        let count = piece.len();
        unread.reserve(count + SPARE);
        unread.extend_from_slice(piece);
        stream.consume(count);
        Poll::Ready(if count > 0 { Ok(()) } else { Err(Closed::error()) })
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.io {
            Either::Left(stream) => stream,
            Either::Right(stream) => stream.get_ref().0.tcp(),
        }
    }
}

impl fmt::Debug for UpstreamStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tcp().fmt(formatter)
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        ready!(Pin::new(&mut self.get_mut().io).poll_read(context, buffer))?;
        if room > 0 && buffer.filled().len() == before {
            return Poll::Ready(Err(Closed::error()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpstreamStream {
    forward_writes!(|this| this.io; all);
}
