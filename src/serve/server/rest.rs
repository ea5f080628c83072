//! Connections that rest: a client that keeps a connection between calls minutes apart holds a socket, and none of the memory in
//! which requests are read and answered.
//!
//! actix has two buffers and a dispatcher for each connection of HTTP/1.1, 11 to 19 KiB. They are dropped once no request has come
//! for a while, and made again when the client sends.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use actix_service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::http::forward_writes::forward_writes;
use crate::serve::server::stream::ServerStream;

/// The parts that all connections of a thread have in common.
pub(super) struct Http1Server<S> {
    pub(super) service: S,
    pub(super) drain: CancellationToken,
    /// The idle time after which a connection ends.
    pub(super) keep_alive: Duration,
}

/// A stream that returns to its home when the dispatcher is dropped.
pub(super) struct Lent<T> {
    /// Nothing only while it is dropped.
    stream: Option<T>,
    home: Rc<Cell<Option<T>>>,
}

impl<S> Http1Server<S> {
    /// Serves a connection to its end. `beneath` returns the TCP stream.
    pub(super) async fn serve<T>(&self, mut stream: T, beneath: impl Fn(&T) -> &ServerStream, peer: SocketAddr)
    where
        S: Service<(Lent<T>, Protocol, Option<SocketAddr>)>,
    {
        let connection = Rc::clone(&beneath(&stream).connection);
        let home = Rc::new(Cell::new(None));
        loop {
            let lent = Lent { stream: Some(stream), home: Rc::clone(&home) };
            // Boxed, so that its memory is free while the connection rests.
            let mut dispatcher = Box::pin(self.service.call((lent, Protocol::Http1, Some(peer))));
            let rests = poll_fn(|context| {
                // Before the dispatcher is polled, which could read the beginning of a request.
                if connection.rest.poll(context) {
                    Poll::Ready(true)
                } else {
                    dispatcher.as_mut().poll(context).map(|_| false)
                }
            });
            let rests = rests.await;
            drop(dispatcher);
            let Some(back) = home.take().filter(|_| rests) else { return };
            stream = back;
            debug!("a connection rests");
            let left = self.keep_alive.saturating_sub(connection.idle_time());
            tokio::select! {
                readable = timeout(left, beneath(&stream).readable()) => match readable {
                    // A new dispatcher reads what the client sends next, or the end of the connection.
                    Ok(Ok(())) => connection.rest.end(),
                    Ok(Err(_)) | Err(_) => return,
                },
                () = self.drain.cancelled() => return,
            }
        }
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.stream.as_ref().expect("there is a stream until the end")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.stream.as_mut().expect("there is a stream until the end")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.set(self.stream.take());
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.get_mut()).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    forward_writes!(|this| **this; all);
}
