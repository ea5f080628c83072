//! HTTP/1.1: how much is read ahead of what has become a request.
//!
//! actix-http would read on to 128 KiB, and panic over a field whose name alone has 64 KiB. Whoever sends a head that is
//! larger than any request may be is told so here, before it is parsed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use crate::serve::server::connection::Connection;

/// The answer to a head that is too large. Nothing is known of the request that could be on record.
const REFUSAL: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    connection: close\r\n\
    content-type: application/json\r\n\
    x-appliance-error: head-too-large\r\n\
    content-length: 87\r\n\
    \r\n\
    {\"error_code\":\"BAD_REQUEST\",\"message\":\"The head of the request is larger than 62 KiB.\"}";
/// Read and thrown away after that: a caller who is cut off while it sends may not see the answer. Bytes.
const DISCARDED: usize = 1 << 20;
/// Read at once where only a little may be. Bytes.
const PIECE: usize = 4096;
/// Read of one connection before others have their turn, which takes a worker less than a millisecond. A caller who sends fast
/// would otherwise be read from for as long as the socket has bytes. Bytes.
const TURN: usize = 256 * 1024;

/// A connection from which no more is read than there may be.
pub(crate) struct Guarded<T> {
    pub(crate) io: T,
    connection: Rc<Connection>,
    refusing: Option<Refusing>,
    /// Bytes that were read in this turn.
    turn: usize,
}

/// The steps that remain for a caller who is refused.
struct Refusing {
    unsent: &'static [u8],
    undiscarded: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    pub(crate) fn new(io: T, connection: Rc<Connection>) -> Self {
        Self { io, connection, refusing: None, turn: 0 }
    }

    /// Ready once the caller has been told, and has gone or sent enough.
    fn poll_refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let refusing = self.refusing.get_or_insert_with(|| {
            debug!("refusing a head that is too large");
            Refusing { unsent: REFUSAL, undiscarded: DISCARDED }
        });
        while !refusing.unsent.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(context, refusing.unsent))? {
                0 => return Poll::Ready(Ok(())),
                written => refusing.unsent = &refusing.unsent[written..],
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        while refusing.undiscarded > 0 {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut piece))?;
            let read = piece.filled().len();
            refusing.undiscarded = if read == 0 { 0 } else { refusing.undiscarded.saturating_sub(read) };
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusing.is_some() {
            return this.poll_refuse(context);
        }
        if this.turn >= TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match this.connection.room() {
            room if room >= buffer.remaining() => ready!(Pin::new(&mut this.io).poll_read(context, buffer))?,
            // A later request waits until the running one has ended.
            0 if this.connection.is_in_use() => {
                this.connection.wake_when_used(context.waker());
                return Poll::Pending;
            }
            // What has come is parsed first: a request with its body may be among it.
            0 if !this.connection.is_stuck() => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            0 => return this.poll_refuse(context),
            room => {
                let mut piece = [0; PIECE];
                let mut piece = ReadBuf::new(&mut piece[..room.min(PIECE)]);
                ready!(Pin::new(&mut this.io).poll_read(context, &mut piece))?;
                buffer.put_slice(piece.filled());
            }
        }
        let read = buffer.filled().len() - before;
        this.turn += read;
        this.connection.has_read(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Nothing follows the last answer.
        if self.refusing.is_some() {
            Poll::Ready(Ok(bytes.len()))
        } else {
            Pin::new(&mut self.io).poll_write(context, bytes)
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.refusing.is_some() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_framed() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(body.starts_with('{') && body.ends_with('}'));
    }
}
