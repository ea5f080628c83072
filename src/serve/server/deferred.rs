//! The moment at which a request of HTTP/1.1 begins: the second time that actix polls it.
//!
//! actix polls a new request as soon as it has the head, and again in the same turn, after it has looked at the bytes behind the head.
//! A request that began with the first poll would wait for a body that is there, and one without a body would be polled a second time
//! before any response can have come.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::serve::server::connection::ServerConnection;

/// A request that begins with the second poll if it belongs to a connection of HTTP/1.1, or else with the first.
pub(crate) struct Deferred<F> {
    future: F,
    /// The connection, until the request begins.
    connection: Option<Rc<ServerConnection>>,
    is_polled: bool,
}

impl<F> Deferred<F> {
    pub(super) fn new(future: F, connection: Option<Rc<ServerConnection>>) -> Self {
        Self { future, connection, is_polled: false }
    }
}

impl<F: Future + Unpin> Future for Deferred<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Some(connection) = &this.connection
            && !this.is_polled
        {
            // This leaves no waker. Where actix does not poll a second time in its turn, the task of the connection wakes itself.
            this.is_polled = true;
            connection.owes_poll.set(true);
            return Poll::Pending;
        }
        if let Some(connection) = this.connection.take() {
            connection.owes_poll.set(false);
        }
        Pin::new(&mut this.future).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::serve::server::accept_permits::AcceptCounts;
    use crate::serve::server::connection::ServerConnections;

    #[test]
    fn only_a_request_of_a_connection_of_http_1_1_waits_for_the_second_poll() {
        let permit = Arc::new(AcceptCounts::new(1)).permit(0, Ipv4Addr::LOCALHOST.into());
        let connection = Rc::new(ServerConnections::default()).add(permit, false);
        let mut context = Context::from_waker(Waker::noop());

        let mut request = Deferred::new(ready(1), Some(Rc::clone(&connection)));
        assert!(Pin::new(&mut request).poll(&mut context).is_pending());
        assert!(connection.owes_poll.get());
        assert_eq!(Pin::new(&mut request).poll(&mut context), Poll::Ready(1));
        assert!(!connection.owes_poll.get());

        let mut other = Deferred::new(ready(2), None);
        assert_eq!(Pin::new(&mut other).poll(&mut context), Poll::Ready(2));
    }
}
