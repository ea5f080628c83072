//! Counters of the connections that were opened to each endpoint, and of those that are open.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::Endpoint;

/// The number of endpoints that are counted separately. Those of targets come first, since their dialers are made first.
const ENDPOINT_LIMIT: usize = 256;
/// Stands for all endpoints above the limit.
const OTHERS: &str = "(others)";

/// The counts of all endpoints that the dialers of one family lead to.
#[derive(Debug, Default)]
pub struct EndpointCounts(Mutex<Vec<(String, Arc<ConnectionCounts>)>>);

impl EndpointCounts {
    /// The counts of an endpoint.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Arc<ConnectionCounts> {
        let mut all = self.lock();
        let authority = endpoint.authority();
        let find = |all: &[(String, Arc<ConnectionCounts>)], name: &str| {
            all.iter().find(|(known, _)| known == name).map(|(_, counts)| Arc::clone(counts))
        };
        let name = if all.len() < ENDPOINT_LIMIT { authority.as_str() } else { OTHERS };
        if let Some(known) = find(&all, &authority).or_else(|| find(&all, name)) {
            return known;
        }
        let counts = Arc::default();
        all.push((name.to_owned(), Arc::clone(&counts)));
        counts
    }

    /// The host and port of each endpoint, and its counts.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<ConnectionCounts>)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<ConnectionCounts>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts of one endpoint.
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

    #[test]
    fn endpoints_are_counted_separately_up_to_a_limit() {
        let counts = EndpointCounts::default();
        let number = |number: usize| Endpoint::https(format!("{number}.example"));
        for one in 0..2 * ENDPOINT_LIMIT {
            counts.of(&number(one)).fail();
        }
        let all = counts.all();
        assert_eq!(all.len(), ENDPOINT_LIMIT + 1);
        assert!(all[..ENDPOINT_LIMIT].iter().all(|(_, counts)| counts.failed() == 1));
        assert_eq!((all[ENDPOINT_LIMIT].0.as_str(), all[ENDPOINT_LIMIT].1.failed()), (OTHERS, ENDPOINT_LIMIT as u64));
        assert!(Arc::ptr_eq(&counts.of(&number(0)), &all[0].1));
        let other_port = Endpoint { port: 8443, ..number(0) };
        assert!(!Arc::ptr_eq(&counts.of(&other_port), &all[0].1));
    }
}
