//! TCP beneath TLS that takes more from the kernel at a time while much is coming.
//!
//! rustls asks for 4 KiB at a time, so a large download would cost a system call for each 4 KiB. An answer that fits
//! into one such piece, as nearly all do, costs nothing here: neither memory nor a copy.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::forward_writes::forward_writes;

/// The size of a read: four TLS records. A connection holds the buffer only as long as so much keeps coming. Bytes.
const SIZE: usize = 64 * 1024;

/// A TCP connection that reads ahead.
pub(super) struct ReadAhead {
    tcp: TcpStream,
    /// The buffer, and the range in it of bytes that were read and not handed over yet.
    taken: Option<(Box<[u8]>, usize, usize)>,
    /// The last piece filled all the room there was: more is coming.
    is_flowing: bool,
}

impl ReadAhead {
    /// Wraps a connection from which nothing has been read ahead.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, taken: None, is_flowing: false }
    }

    /// The connection.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads from the kernel. A connection that waits holds no memory.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = self.taken.take().map_or_else(|| vec![0; SIZE].into_boxed_slice(), |(room, ..)| room);
        let mut ahead = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.tcp).poll_read(context, &mut ahead))?;
        let filled = ahead.filled().len();
        self.is_flowing = filled == SIZE;
        self.taken = Some((room, 0, filled));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_empty = this.taken.as_ref().is_none_or(|(_, start, end)| start == end);
        if is_empty && !this.is_flowing {
            this.taken = None;
            let room = buffer.remaining();
            ready!(Pin::new(&mut this.tcp).poll_read(context, buffer))?;
            this.is_flowing = room > 0 && buffer.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        if is_empty {
            ready!(this.poll_take(context))?;
        }
        if let Some((room, start, end)) = &mut this.taken {
            let piece = (*end - *start).min(buffer.remaining());
            buffer.put_slice(&room[*start..*start + piece]);
            *start += piece;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    forward_writes!(|this| this.tcp; all);
}
