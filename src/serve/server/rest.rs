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

use actix_service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::http::forward_writes::forward_writes;
use crate::serve::server::head::BoundedHead;
use crate::serve::server::stream::{ClientStream, tcp};

/// The parts that all connections of a thread have in common.
pub(super) struct Http1Server<S> {
    pub(super) service: S,
    pub(super) drain: CancellationToken,
}

/// A stream that returns to its home when the dispatcher is dropped.
pub(super) struct Lent {
    /// Nothing only while it is dropped.
    stream: Option<BoundedHead<ClientStream>>,
    home: Rc<Cell<Option<BoundedHead<ClientStream>>>>,
}

impl<S: Service<(Lent, Option<SocketAddr>)>> Http1Server<S> {
    /// Serves a connection to its end.
    pub(super) async fn serve(&self, stream: ClientStream, peer: SocketAddr) {
        let connection = Rc::clone(&tcp(&stream).connection);
        let mut stream = BoundedHead::new(stream, Rc::clone(&connection));
        let home = Rc::new(Cell::new(None));
        loop {
            let lent = Lent { stream: Some(stream), home: Rc::clone(&home) };
            // Boxed, so that its memory is free while the connection rests.
            let mut dispatcher = Box::pin(self.service.call((lent, Some(peer))));
            let rests = poll_fn(|context| {
                // Before the dispatcher is polled, which could read the beginning of a request.
                if connection.rest.poll(context) {
                    return Poll::Ready(true);
                }
                let polled = dispatcher.as_mut().poll(context);
                // A request that waits behind another one is polled only once in the turn in which it is called.
                if connection.owes_poll.take() {
                    context.waker().wake_by_ref();
                }
                polled.map(|_| false)
            });
            let rests = rests.await;
            drop(dispatcher);
            let Some(back) = home.take().filter(|_| rests) else { return };
            stream = back;
            debug!("a connection rests");
            tokio::select! {
                readable = tcp(&stream.io).readable() => match readable {
                    // A new dispatcher reads what the client sends next, or the end of the connection.
                    Ok(()) => connection.rest.end(),
                    Err(_) => return,
                },
                () = self.drain.cancelled() => return,
            }
        }
    }
}

impl Deref for Lent {
    type Target = BoundedHead<ClientStream>;

    fn deref(&self) -> &Self::Target {
        self.stream.as_ref().expect("there is a stream until the end")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.stream.as_mut().expect("there is a stream until the end")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.set(self.stream.take());
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.get_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lent {
    forward_writes!(|this| **this; all);
}
