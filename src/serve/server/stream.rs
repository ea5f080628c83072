//! The byte stream of a connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::http::forward_writes::forward_writes;
use crate::serve::server::connection::ServerConnection;

/// A TCP stream, and the state of its connection.
pub(crate) struct ServerStream {
    pub(super) tcp: TcpStream,
    pub(crate) connection: Rc<ServerConnection>,
}

/// A connection of a client, without or with TLS.
pub(super) type ClientStream = Either<ServerStream, Box<TlsStream<ServerStream>>>;

/// Returns the TCP stream of a connection.
pub(super) fn tcp(stream: &ClientStream) -> &ServerStream {
    match stream {
        Either::Left(stream) => stream,
        Either::Right(stream) => stream.get_ref().0,
    }
}

impl ServerStream {
    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            // If the kernel rejects the option, the connection ends with a FIN.
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.connection.note_write(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.connection.note_write(written.is_pending());
        written
    }

    forward_writes!(|this| this.tcp; is_write_vectored, poll_flush);

    /// Does nothing: actix drops the connection right after this, and closing it sends the same FIN. That saves a system call.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
