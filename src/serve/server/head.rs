//! HTTP/1.1: the limit of bytes that are read before they become a request.
//!
//! actix-http would read up to 128 KiB, and panic over a field whose name alone has 64 KiB. A head that is larger than any
//! valid one is rejected here, before it is parsed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use crate::serve::server::connection::ServerConnection;

/// The response to a head that is too large. The access log does not have it, because the request is not parsed.
const RESPONSE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    connection: close\r\n\
    content-type: application/json\r\n\
    x-appliance-error: head-too-large\r\n\
    content-length: 87\r\n\
    \r\n\
    {\"error_code\":\"BAD_REQUEST\",\"message\":\"The head of the request is larger than 62 KiB.\"}";
/// The maximum number of bytes that are discarded after that. A client that is disconnected while it sends may not see the
/// response.
const DISCARDED: usize = 1 << 20;
/// The size of one read when there is room for little. Bytes.
const PIECE: usize = 4096;
/// The maximum number of bytes that are read from one connection in a turn, which takes less than a millisecond. Without it, a
/// thread would serve a fast sender for as long as the socket has bytes.
const TURN: usize = 256 * 1024;

/// A connection whose heads are limited.
pub(crate) struct BoundedHead<T> {
    pub(crate) io: T,
    connection: Rc<ServerConnection>,
    rejecting: Option<Rejecting>,
    /// The number of bytes that were read in this turn.
    turn: usize,
}

/// The steps that remain of a rejection.
struct Rejecting {
    unsent: &'static [u8],
    undiscarded: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> BoundedHead<T> {
    pub(crate) fn new(io: T, connection: Rc<ServerConnection>) -> Self {
        Self { io, connection, rejecting: None, turn: 0 }
    }

    /// Sends the response and discards what the client sends after it.
    fn poll_reject(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let rejecting = self.rejecting.get_or_insert_with(|| {
            debug!("rejecting a head that is too large");
            Rejecting { unsent: RESPONSE, undiscarded: DISCARDED }
        });
        while !rejecting.unsent.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(context, rejecting.unsent))? {
                0 => return Poll::Ready(Ok(())),
                written => rejecting.unsent = &rejecting.unsent[written..],
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        while rejecting.undiscarded > 0 {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut piece))?;
            let read = piece.filled().len();
            rejecting.undiscarded = if read == 0 { 0 } else { rejecting.undiscarded.saturating_sub(read) };
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for BoundedHead<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rejecting.is_some() {
            return this.poll_reject(context);
        }
        if this.turn >= TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match this.connection.room() {
            room if room >= buffer.remaining() => ready!(Pin::new(&mut this.io).poll_read(context, buffer))?,
            // A later request waits until the current one has ended.
            0 if this.connection.is_in_use() => {
                this.connection.wake_later(context.waker());
                return Poll::Pending;
            }
            // The bytes that were read are parsed first: they may contain a whole request.
            0 if !this.connection.note_stuck() => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            0 => return this.poll_reject(context),
            room => {
                let mut piece = [0; PIECE];
                let mut piece = ReadBuf::new(&mut piece[..room.min(PIECE)]);
                ready!(Pin::new(&mut this.io).poll_read(context, &mut piece))?;
                buffer.put_slice(piece.filled());
            }
        }
        let piece = &buffer.filled()[before..];
        this.turn += piece.len();
        this.connection.note_read(piece);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedHead<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // No other response follows the rejection.
        if self.rejecting.is_some() {
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
        if self.rejecting.is_some() {
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
    fn the_response_has_its_content_length() {
        let text = std::str::from_utf8(RESPONSE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(body.starts_with('{') && body.ends_with('}'));
    }
}
