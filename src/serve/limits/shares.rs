//! Each holder's share of a worker's connections to one upstream. Callers share those of a target, and targets share those of
//! an endpoint.
//!
//! A holder gets another connection as long as it holds fewer than are free. Alone it can have half of them, and each further
//! holder half of the rest, so that one never takes the last connection. This needs no configuration, and reserves nothing for
//! holders that are not there (Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998). Each worker has one count for
//! each upstream, so no lock is needed.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::client::CONNECTION_WAIT;
use crate::serve::limits::in_flight::FOR_EACH_CONNECTION;

/// A worker's connections to one upstream, and those who hold them.
pub(crate) struct ConnectionShares {
    connections: Cell<usize>,
    usage: RefCell<ConnectionUsage>,
}

/// Distinguishes a caller or a target from all others that have a request running. It is the address in memory of the caller's
/// counters or of the target, which no caller can choose, and which needs no hash of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShareHolder(usize);

impl ShareHolder {
    /// Returns the key of the caller with these counters, or of a target, which must live as long as it has a share or waits.
    pub(crate) fn of<T>(counters: Option<&Arc<T>>) -> Self {
        Self(counters.map_or(0, |counters| Arc::as_ptr(counters).addr()))
    }

    /// Returns the key as a number, which is 0 only for the key of nobody.
    pub(super) fn number(self) -> usize {
        self.0
    }
}

#[derive(Default)]
struct ConnectionUsage {
    /// The number of connections in use.
    used: usize,
    /// The number of requests that wait, of all holders.
    waiting: usize,
    /// Those that hold a connection or wait for one.
    holders: HashMap<ShareHolder, ShareUsage, FixedState>,
}

#[derive(Default)]
struct ShareUsage {
    held: usize,
    /// The request that has waited longest is at the front.
    waiting: VecDeque<oneshot::Sender<SharePermit>>,
}

/// The permit to use one connection, which counts for its holder until it is dropped.
pub(crate) struct SharePermit {
    shares: Rc<ConnectionShares>,
    holder: ShareHolder,
}

/// The share is used up, and no connection became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareExceeded;

impl ConnectionShares {
    /// Returns the shares of this many connections.
    pub(crate) fn new(connections: usize) -> Rc<Self> {
        Rc::new(Self { connections: Cell::new(connections), usage: RefCell::default() })
    }

    /// Sets the number of connections, which an upstream can lower and raise.
    pub(crate) fn set_connections(&self, connections: usize) {
        self.connections.set(connections);
    }

    /// Checks that `holder` may wait for a connection, before it sends the body of the request.
    ///
    /// # Errors
    /// [`ShareExceeded`].
    pub(crate) fn check(&self, holder: ShareHolder) -> Result<(), ShareExceeded> {
        let mut usage = self.usage.borrow_mut();
        // If no request waits, each holder is below its share.
        if usage.waiting > 0 && usage.is_full(holder, self.connections.get()) {
            return Err(ShareExceeded);
        }
        Ok(())
    }

    /// Waits for a connection for `holder`.
    ///
    /// # Errors
    /// [`ShareExceeded`].
    pub(crate) async fn take(self: &Rc<Self>, holder: ShareHolder) -> Result<SharePermit, ShareExceeded> {
        let granted = {
            let mut usage = self.usage.borrow_mut();
            let free = self.connections.get().saturating_sub(usage.used);
            let usage_of_holder = usage.holders.entry(holder).or_default();
            if usage_of_holder.waiting.is_empty() && usage_of_holder.held < free {
                usage_of_holder.held += 1;
                usage.used += 1;
                return Ok(SharePermit { shares: Rc::clone(self), holder });
            }
            if usage.is_full(holder, self.connections.get()) {
                return Err(ShareExceeded);
            }
            let (sender, granted) = oneshot::channel();
            usage.holders.entry(holder).or_default().waiting.push_back(sender);
            usage.waiting += 1;
            granted
        };
        match Box::pin(timeout(CONNECTION_WAIT, granted)).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(ShareExceeded),
        }
    }

    /// Gives free connections to waiting requests, first to those of the holder that has least.
    fn grant(self: &Rc<Self>) {
        loop {
            let (sender, holder) = {
                let mut usage = self.usage.borrow_mut();
                if usage.waiting == 0 {
                    return;
                }
                let free = self.connections.get().saturating_sub(usage.used);
                let waiting = usage.holders.iter().filter(|(_, holder)| !holder.waiting.is_empty());
                let least = waiting.map(|(key, holder)| (holder.held, *key)).min();
                let Some((_, key)) = least.filter(|(held, _)| *held < free) else { return };
                let Some(sender) = usage.next(key) else { continue };
                (sender, key)
            };
            // A request that has stopped waiting drops the permit, which frees the connection.
            let _ = sender.send(SharePermit { shares: Rc::clone(self), holder });
        }
    }
}

impl ShareUsage {
    fn is_unused(&self) -> bool {
        self.held == 0 && self.waiting.is_empty()
    }

    fn is_full(&self, connections: usize) -> bool {
        self.held + self.waiting.len() >= connections.saturating_mul(FOR_EACH_CONNECTION)
    }
}

impl ConnectionUsage {
    /// Returns true if no more requests of `key` may wait. Requests that have stopped waiting are removed first.
    fn is_full(&mut self, key: ShareHolder, connections: usize) -> bool {
        let Some(usage_of_holder) = self.holders.get_mut(&key) else { return false };
        if !usage_of_holder.is_full(connections) {
            return false;
        }
        let before = usage_of_holder.waiting.len();
        usage_of_holder.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting -= before - usage_of_holder.waiting.len();
        usage_of_holder.is_full(connections)
    }

    /// Takes the first request of `key` that still waits, and counts a connection for it.
    fn next(&mut self, key: ShareHolder) -> Option<oneshot::Sender<SharePermit>> {
        let usage_of_holder = self.holders.get_mut(&key)?;
        let mut next = None;
        while next.is_none()
            && let Some(first) = usage_of_holder.waiting.pop_front()
        {
            self.waiting -= 1;
            next = Some(first).filter(|first| !first.is_closed());
        }
        match next {
            Some(_) => {
                usage_of_holder.held += 1;
                self.used += 1;
            }
            None => self.forget(key),
        }
        next
    }

    /// Removes a holder that neither has a connection nor waits.
    fn forget(&mut self, key: ShareHolder) {
        if self.holders.get(&key).is_some_and(ShareUsage::is_unused) {
            self.holders.remove(&key);
        }
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        {
            let mut usage = self.shares.usage.borrow_mut();
            usage.used -= 1;
            if let Entry::Occupied(mut usage_of_holder) = usage.holders.entry(self.holder) {
                usage_of_holder.get_mut().held -= 1;
                if usage_of_holder.get().is_unused() {
                    usage_of_holder.remove();
                }
            }
        }
        self.shares.grant();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const A: ShareHolder = ShareHolder(1);
    const B: ShareHolder = ShareHolder(2);

    /// Returns all permits that a caller gets without waiting.
    fn all(shares: &Rc<ConnectionShares>, caller: ShareHolder) -> Vec<SharePermit> {
        std::iter::from_fn(|| shares.take(caller).now_or_never()?.ok()).collect()
    }

    #[tokio::test]
    async fn a_caller_gets_at_most_half_of_the_connections_that_others_leave() {
        let shares = ConnectionShares::new(256);
        let held: Vec<_> = (1..=8).map(|caller| all(&shares, ShareHolder(caller))).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [128, 64, 32, 16, 8, 4, 2, 1]);
        drop(held);
        let usage = shares.usage.borrow();
        assert_eq!((usage.used, usage.holders.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_single_connection_can_be_used_by_each_caller() {
        let shares = ConnectionShares::new(1);
        let held = all(&shares, A);
        assert_eq!(held.len(), 1);
        drop(held);
        assert_eq!(all(&shares, B).len(), 1);
    }

    #[tokio::test]
    async fn a_free_connection_goes_to_the_waiting_caller_that_holds_least() {
        let shares = ConnectionShares::new(8);
        let mut held = all(&shares, A);
        assert_eq!(held.len(), 4);
        held.extend(all(&shares, B));
        assert_eq!(held.len(), 6);
        let mut again = Box::pin(shares.take(A));
        let mut gone = Box::pin(shares.take(B));
        let mut next = Box::pin(shares.take(B));
        assert!((&mut again).now_or_never().is_none());
        assert!((&mut gone).now_or_never().is_none());
        assert!((&mut next).now_or_never().is_none());
        drop(gone);
        held.remove(0);
        assert!((&mut again).now_or_never().is_none());
        let granted = next.now_or_never().expect("a connection became free");
        drop((granted, held));
        assert!(again.now_or_never().expect("all connections became free").is_ok());
        assert_eq!(shares.usage.borrow().used, 0);
    }

    #[tokio::test]
    async fn the_queue_of_one_caller_is_bounded() {
        let shares = ConnectionShares::new(2);
        let held = all(&shares, A);
        let mut waiting = Vec::new();
        for _ in held.len()..2 * FOR_EACH_CONNECTION {
            assert_eq!(shares.check(A), Ok(()));
            let mut one = Box::pin(shares.take(A));
            assert!((&mut one).now_or_never().is_none());
            waiting.push(one);
        }
        assert_eq!(shares.take(A).now_or_never().map(Result::err), Some(Some(ShareExceeded)));
        assert_eq!((shares.check(A), shares.check(B)), (Err(ShareExceeded), Ok(())));
        drop((held, waiting));
        assert_eq!(shares.usage.borrow().used, 0);
    }
}
