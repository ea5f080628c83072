//! The connections of one worker to one upstream that wait for a request, and the requests that wait for one of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Weak;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::connection::Http1Connection;

/// The idle connections, and the requests that wait where there are none.
pub(super) struct Pool {
    /// The request that has waited longest is at the front.
    waiting: RefCell<VecDeque<oneshot::Sender<Http1Connection>>>,
    /// The one that was used last is at the end.
    idle: RefCell<VecDeque<(Http1Connection, Instant)>>,
    keep_alive: Duration,
    lifetime: Duration,
}

impl Pool {
    pub(super) fn new(keep_alive: Duration, lifetime: Duration) -> Self {
        Self { waiting: RefCell::default(), idle: RefCell::default(), keep_alive, lifetime }
    }

    /// The next connection that comes back; nothing if no request can be sent on it.
    pub(super) async fn next(&self) -> Option<Http1Connection> {
        let (sender, next) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            // Remove requests that have given up; where no connection comes back, nothing else would remove them.
            while waiting.pop_front_if(|first| first.is_closed()).is_some() {}
            waiting.push_back(sender);
        }
        let mut connection = next.await.ok()?;
        connection.is_quiet().then_some(connection)
    }

    /// Returns the idle connection that was used last, if a request can be sent on one. So the others become old and
    /// are closed.
    pub(super) fn take(&self) -> Option<Http1Connection> {
        let now = Instant::now();
        self.sweep(now);
        let mut idle = self.idle.borrow_mut();
        while let Some((mut connection, since)) = idle.pop_back() {
            if !self.is_stale(&connection, since, now) && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Closes the connections that were idle for too long, for as long as the pool exists.
    pub(super) async fn keep_swept(pool: Weak<Self>, interval: Duration) {
        while let Some(pool) = pool.upgrade() {
            pool.sweep(Instant::now());
            drop(pool);
            sleep(interval).await;
        }
    }

    fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|(connection, since)| self.is_stale(connection, *since, now)) {
            idle.pop_front();
        }
    }

    /// Takes a connection back, or adds a new one. A connection with unread bytes is closed.
    pub(super) fn put(&self, mut connection: Http1Connection) {
        // SECURITY: bytes that are there already would be taken for the response to the next request.
        if !connection.unread.is_empty() {
            return;
        }
        // An idle connection holds no memory.
        connection.unread = BytesMut::new();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.pop_front() {
            match first.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        self.idle.borrow_mut().push_back((connection, Instant::now()));
    }

    fn is_stale(&self, connection: &Http1Connection, since: Instant, now: Instant) -> bool {
        now - since > self.keep_alive || now - connection.opened > self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::super::connections::ConnectionCounts;
    use super::super::super::stream::{Io, UpstreamStream};
    use super::*;

    /// Both ends of a connection.
    async fn ends() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (ours, theirs)
    }

    fn connection(ours: TcpStream) -> Http1Connection {
        let held = Arc::new(ConnectionCounts::default()).hold();
        Http1Connection::new(UpstreamStream::new(Io::Left(ours), held))
    }

    fn pool() -> Pool {
        Pool::new(Duration::from_secs(60), Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_request_that_waits_longest_and_has_not_given_up() {
        let pool = pool();
        let (ours, _peer) = ends().await;
        let used = connection(ours);
        let [mut gone, mut first, mut second] = std::array::from_fn(|_| Box::pin(pool.next()));
        for waiting in [&mut gone, &mut first, &mut second] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gone);

        pool.put(used);
        let connection = first.now_or_never().flatten().expect("it came back");
        assert!((&mut second).now_or_never().is_none());
        assert!(pool.take().is_none(), "it does not lie idle as well");

        drop(second);
        pool.put(connection);
        assert!(pool.take().is_some(), "no request waits any more");
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_or_has_unread_bytes_is_not_used() {
        let pool = pool();
        let (closed, peer) = ends().await;
        drop(peer);
        let (talking, mut peer) = ends().await;
        peer.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        for ours in [closed, talking] {
            ours.readable().await.unwrap();
            let connection = connection(ours);
            let mut next = Box::pin(pool.next());
            assert!((&mut next).now_or_never().is_none());
            pool.put(connection);
            assert!(next.now_or_never().expect("it came back").is_none());
        }
    }
}
