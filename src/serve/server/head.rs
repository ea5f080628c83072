//! HTTP/1.1: the limits of heads, and of the lines around chunks, which hold before actix-http parses them.
//!
//! actix-http would read up to 128 KiB, and panic over a field whose name alone has 64 KiB. So a head that is larger than any
//! valid one is rejected here, after the responses to the requests before it.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tracing::debug;

use crate::http::forward_writes::forward_writes;
use crate::http::request_framing::{FramingError, RequestFraming};
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
/// The size of one read of bytes that are discarded.
const PIECE: usize = 4096;
/// The size of the blocks in which a large body is read: once it has so many bytes, actix parses them and reads no more in this turn,
/// which takes less than a millisecond. It reads the next block into the same memory, unless a part of the last one is still in use.
/// That would be so if a chunk for S3, which has half the size, ended with the beginning of a block. Bytes.
const BLOCK: usize = 128 * 1024;
/// The number of requests that may wait behind the current one before no more bytes are read. actix-http makes requests of all
/// that it has read, and each takes 5 KiB.
const WAITING: usize = 2;

/// A connection whose heads are limited.
pub(crate) struct BoundedHead<T> {
    pub(crate) io: T,
    connection: Rc<ServerConnection>,
    framing: RequestFraming,
    /// The end of the connection, once bytes have arrived that must not be parsed.
    end: Option<End>,
    /// The number of bytes that were read and not parsed.
    unparsed: usize,
    /// True if actix has to parse them before it reads on.
    is_block: bool,
}

/// The way in which a connection ends whose bytes must not be parsed.
enum End {
    /// Malformed chunks: actix sees the end of the connection, and the application a truncated body.
    Truncated,
    /// A large head: it is rejected when the requests before it have their responses.
    TooLarge,
    Rejecting(Rejecting),
}

/// The steps that remain of a rejection.
struct Rejecting {
    unsent: &'static [u8],
    undiscarded: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> BoundedHead<T> {
    pub(crate) fn new(io: T, connection: Rc<ServerConnection>) -> Self {
        Self { io, connection, framing: RequestFraming::default(), end: None, unparsed: 0, is_block: false }
    }

    fn is_rejecting(&self) -> bool {
        matches!(self.end, Some(End::Rejecting(_)))
    }

    /// Reads up to the end of a block at most.
    fn poll_block(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let left = self.framing.left_of_block(BLOCK as u64);
        let polled = match left {
            Some(left) => Pin::new(&mut (&mut self.io).take(left)).poll_read(context, buffer),
            None => Pin::new(&mut self.io).poll_read(context, buffer),
        };
        let count = buffer.filled().len() - before;
        self.unparsed += count;
        // actix parses what it has if nothing comes, and before it reads more than a block.
        if polled.is_pending() || self.unparsed >= BLOCK {
            self.unparsed = 0;
        } else if left == Some(count as u64) {
            (self.unparsed, self.is_block) = (0, true);
        }
        polled
    }

    /// Ends the connection, as soon as the requests before the end allow it.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_due = match &self.end {
            Some(End::TooLarge) => self.connection.is_idle_after(self.framing.heads()),
            // The body of an earlier request must not count as truncated.
            Some(End::Truncated) => self.connection.waiting(self.framing.heads()) == 0,
            Some(End::Rejecting(_)) | None => true,
        };
        if !is_due {
            self.connection.wake_later(context.waker());
            return Poll::Pending;
        }
        if matches!(self.end, Some(End::TooLarge)) {
            debug!("a head is rejected, because it is too large");
            self.end = Some(End::Rejecting(Rejecting { unsent: RESPONSE, undiscarded: DISCARDED }));
        }
        match &mut self.end {
            Some(End::Rejecting(rejecting)) => rejecting.poll(&mut self.io, context),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Rejecting {
    /// Sends the response and discards what the client sends after it.
    fn poll<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(context, self.unsent))? {
                0 => return Poll::Ready(Ok(())),
                written => self.unsent = &self.unsent[written..],
            }
        }
        ready!(Pin::new(&mut *io).poll_flush(context))?;
        while self.undiscarded > 0 {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *io).poll_read(context, &mut piece))?;
            let read = piece.filled().len();
            self.undiscarded = if read == 0 { 0 } else { self.undiscarded.saturating_sub(read) };
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for BoundedHead<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end.is_some() {
            return this.poll_end(context);
        }
        if mem::take(&mut this.is_block) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.connection.waiting(this.framing.heads()) >= WAITING {
            this.connection.wake_later(context.waker());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(this.poll_block(context, buffer))?;
        if let Err(error) = this.framing.advance(&buffer.filled()[before..]) {
            let (end, count) = match error {
                FramingError::HeadTooLarge(count) => (End::TooLarge, count),
                FramingError::Chunks(count) => (End::Truncated, count),
            };
            this.end = Some(end);
            buffer.set_filled(before + count);
            if count == 0 {
                // Nothing was read, which would mean the end of the connection.
                return this.poll_end(context);
            }
        }
        this.connection.rest.note_read(this.framing.heads(), this.framing.is_between());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedHead<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // No other response follows the rejection.
        if self.is_rejecting() {
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
        if self.is_rejecting() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    forward_writes!(|this| this.io; is_write_vectored, poll_flush, poll_shutdown);
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
