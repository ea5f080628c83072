//! The permits of accepted connections. Each counts against its thread's limit and against its address's share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The numbers of connections by thread and by client address.
pub(super) struct AcceptCounts {
    threads: Box<[ThreadCount]>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// The connections of one thread, including those that another thread is handing over to it.
#[derive(Default)]
struct ThreadCount {
    connections: AtomicUsize,
    fell: Notify,
}

/// The right of an accepted connection to exist, until it is dropped.
pub(crate) struct AcceptPermit {
    counts: Arc<AcceptCounts>,
    thread: usize,
    address: IpAddr,
}

impl AcceptCounts {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads: (0..threads).map(|_| ThreadCount::default()).collect(), addresses: Mutex::default() }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Returns the number of connections of a thread.
    pub(super) fn of(&self, thread: usize) -> usize {
        self.threads[thread].connections.load(Ordering::Relaxed)
    }

    /// Waits until a thread has fewer than `limit` connections.
    pub(super) async fn falls_below(&self, thread: usize, limit: usize) {
        loop {
            // Listening begins before the check, so that no change after the check is missed.
            let fell = self.threads[thread].fell.notified();
            if self.of(thread) < limit {
                return;
            }
            fell.await;
        }
    }

    /// Counts a connection of an address, unless the address has `limit` already.
    pub(super) fn enter(&self, address: IpAddr, limit: usize) -> bool {
        let mut addresses = self.addresses();
        let count = addresses.entry(address).or_default();
        let has_room = *count < limit;
        *count += usize::from(has_room);
        has_room
    }

    /// Gives a connection, whose address has been counted, to a thread.
    pub(super) fn permit(self: &Arc<Self>, thread: usize, address: IpAddr) -> AcceptPermit {
        self.threads[thread].connections.fetch_add(1, Ordering::Relaxed);
        AcceptPermit { counts: Arc::clone(self), thread, address }
    }

    pub(super) fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AcceptPermit {
    fn drop(&mut self) {
        let thread = &self.counts.threads[self.thread];
        thread.connections.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = self.counts.addresses();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
        drop(addresses);
        // Each listener of the thread waits separately.
        thread.fell.notify_waiters();
    }
}
