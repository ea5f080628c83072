//! Counters of the connections that one dialer has opened, and of those that are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a dialer and its copies.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    opened: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
}

impl ConnectionCounts {
    /// Connections that were opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Connections that are open now, in use or not.
    #[must_use]
    pub fn open(&self) -> u64 {
        // In this order: what is closed was opened before.
        let closed = self.closed.load(Ordering::Acquire);
        self.opened().saturating_sub(closed)
    }

    /// Counts an attempt that failed.
    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection until the returned value is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> OpenConnection {
        self.opened.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }
}

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<ConnectionCounts>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let connections = Arc::new(ConnectionCounts::default());
        let held = [connections.hold(), connections.hold()];
        connections.fail();
        assert_eq!((connections.opened(), connections.open(), connections.failed()), (2, 2, 1));
        drop(held);
        assert_eq!((connections.opened(), connections.open()), (2, 0));
    }
}
