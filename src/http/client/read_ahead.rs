//! TCP beneath TLS that takes more from the kernel at a time while much is coming.
//!
//! rustls asks for 4 KiB at a time, so a large download would cost a system call for each 4 KiB. An answer that fits
//! into one such piece, as nearly all do, costs nothing here: neither memory nor a copy.

use std::future::Future as _;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::forward_writes::forward_writes;

/// The size of a read: four TLS records. A connection holds the buffer only as long as so much keeps coming. Bytes.
const SIZE: usize = 64 * 1024;

/// A TCP connection that reads ahead.
pub(super) struct ReadAhead {
    tcp: TcpStream,
    /// The bytes that were read and not handed over yet.
    ahead: BytesMut,
    /// The last piece filled all the room there was: more is coming.
    is_flowing: bool,
}

impl ReadAhead {
    /// Wraps a connection from which nothing has been read ahead.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, ahead: BytesMut::new(), is_flowing: false }
    }

    /// The connection.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads from the kernel. A connection that waits holds no memory.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = mem::take(&mut self.ahead);
        // If nobody else holds a part of the buffer, this reuses its memory.
        room.reserve(SIZE);
        let read = ready!(pin!(self.tcp.read_buf(&mut room)).poll(context))?;
        self.is_flowing = read >= SIZE;
        self.ahead = room;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() && !this.is_flowing {
            this.ahead = BytesMut::new();
            let room = buffer.remaining();
            ready!(Pin::new(&mut this.tcp).poll_read(context, buffer))?;
            this.is_flowing = room > 0 && buffer.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        if this.ahead.is_empty() {
            ready!(this.poll_take(context))?;
        }
        let piece = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead[..piece]);
        this.ahead.advance(piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    forward_writes!(|this| this.tcp; all);
}
