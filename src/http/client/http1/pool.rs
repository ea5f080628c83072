//! The connections of one worker to one upstream that wait for a request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Weak;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::sleep;

use super::connection::Connection;

/// Idle connections.
pub(super) struct Pool {
    /// The one that was used last is at the end.
    idle: RefCell<VecDeque<(Connection, Instant)>>,
    keep_alive: Duration,
    lifetime: Duration,
}

impl Pool {
    pub(super) fn new(keep_alive: Duration, lifetime: Duration) -> Self {
        Self { idle: RefCell::default(), keep_alive, lifetime }
    }

    /// A connection that waits, if there is one on which a request can be sent. The one that was used last: the others
    /// grow old and go.
    pub(super) fn take(&self) -> Option<Connection> {
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

    /// Lets those go that have waited for too long, as long as there is a pool.
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

    /// Gives a connection back, or a new one into use; one with something left to read is let go.
    pub(super) fn put(&self, mut connection: Connection) {
        // SECURITY: what is there already would be taken for the answer to the next request.
        if !connection.unread.is_empty() {
            return;
        }
        // An idle connection holds no memory.
        connection.unread = BytesMut::new();
        self.idle.borrow_mut().push_back((connection, Instant::now()));
    }

    fn is_stale(&self, connection: &Connection, since: Instant, now: Instant) -> bool {
        now - since > self.keep_alive || now - connection.opened > self.lifetime
    }
}
