//! Each caller's share of a worker's connections to one server.
//!
//! A caller gets another connection as long as it holds fewer than are free: alone it can have half of them, and those who
//! come after it half of what is left each time, so that one caller never takes the last. Nothing has to be configured for
//! that, and nothing is kept back for callers who are not there (Choudhury and Hahne, "Dynamic Queue Length Thresholds",
//! 1998). One count for each worker and server, so nothing is locked.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The longest wait for a connection, as for those of all callers together (`http::client`).
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Requests of one caller, for each connection that there is, that have one or wait. What comes on top would wait longer
/// than its caller does.
const FOR_EACH_CONNECTION: usize = 4;

/// A worker's connections to one server, and who holds them.
pub(crate) struct Shares {
    places: usize,
    state: RefCell<State>,
}

/// Tells a caller from all others that have a request running: the address in memory of what is counted for it, which no
/// caller chooses, and which takes no hash of a name to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Party(usize);

impl Party {
    /// The party for which `counted` is kept. It has to be kept as long as the party has a share or waits.
    #[must_use]
    pub(crate) fn of<T>(counted: Option<&Arc<T>>) -> Self {
        Self(counted.map_or(0, |counted| Arc::as_ptr(counted).addr()))
    }
}

#[derive(Default)]
struct State {
    used: usize,
    /// All who wait.
    waiting: usize,
    /// Those who hold something or wait.
    holders: HashMap<Party, Holder, FixedState>,
}

#[derive(Default)]
struct Holder {
    held: usize,
    /// The request that has waited longest is at the front.
    waiting: VecDeque<oneshot::Sender<Share>>,
}

/// A connection that a caller may use, until this is dropped.
pub(crate) struct Share {
    shares: Rc<Shares>,
    holder: Party,
}

/// The caller holds its share, and nothing became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverShare;

impl Shares {
    /// For so many connections.
    #[must_use]
    pub(crate) fn among(places: usize) -> Rc<Self> {
        Rc::new(Self { places, state: RefCell::default() })
    }

    /// Checks that `holder` may wait for one, before it has sent the body that it wants one for.
    ///
    /// # Errors
    /// [`OverShare`].
    pub(crate) fn check(&self, holder: Party) -> Result<(), OverShare> {
        let mut state = self.state.borrow_mut();
        // If no request waits, every caller is below its share.
        if state.waiting > 0 && state.is_full(holder, self.places) {
            return Err(OverShare);
        }
        Ok(())
    }

    /// Takes one for `holder`, if need be after a while.
    ///
    /// # Errors
    /// [`OverShare`].
    pub(crate) async fn take(self: &Rc<Self>, holder: Party) -> Result<Share, OverShare> {
        let granted = {
            let mut state = self.state.borrow_mut();
            let free = self.places.saturating_sub(state.used);
            let account = state.holders.entry(holder).or_default();
            if account.waiting.is_empty() && account.held < free {
                account.held += 1;
                state.used += 1;
                return Ok(Share { shares: Rc::clone(self), holder });
            }
            if state.is_full(holder, self.places) {
                return Err(OverShare);
            }
            let (sender, granted) = oneshot::channel();
            state.holders.entry(holder).or_default().waiting.push_back(sender);
            state.waiting += 1;
            granted
        };
        match Box::pin(timeout(LONGEST_WAIT, granted)).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(OverShare),
        }
    }

    /// Gives what is free to those who wait, first to who holds least.
    fn grant(self: &Rc<Self>) {
        loop {
            let (sender, holder) = {
                let mut state = self.state.borrow_mut();
                if state.waiting == 0 {
                    return;
                }
                let free = self.places.saturating_sub(state.used);
                let waiting = state.holders.iter().filter(|(_, holder)| !holder.waiting.is_empty());
                let least = waiting.map(|(key, holder)| (holder.held, *key)).min();
                let Some((_, key)) = least.filter(|(held, _)| *held < free) else { return };
                let Some(sender) = state.next(key) else { continue };
                (sender, key)
            };
            // A caller that has given up drops the share, and it is free again.
            let _ = sender.send(Share { shares: Rc::clone(self), holder });
        }
    }
}

impl Holder {
    fn is_at_rest(&self) -> bool {
        self.held == 0 && self.waiting.is_empty()
    }

    fn is_full(&self, places: usize) -> bool {
        self.held + self.waiting.len() >= places.saturating_mul(FOR_EACH_CONNECTION)
    }
}

impl State {
    /// True if no more requests of `key` may wait. Those that have given up are forgotten first.
    fn is_full(&mut self, key: Party, places: usize) -> bool {
        let Some(account) = self.holders.get_mut(&key) else { return false };
        if !account.is_full(places) {
            return false;
        }
        let before = account.waiting.len();
        account.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting -= before - account.waiting.len();
        account.is_full(places)
    }

    /// Takes the first of those who wait for `key` and have not given up, and counts a connection for it.
    fn next(&mut self, key: Party) -> Option<oneshot::Sender<Share>> {
        let account = self.holders.get_mut(&key)?;
        let mut next = None;
        while next.is_none()
            && let Some(first) = account.waiting.pop_front()
        {
            self.waiting -= 1;
            next = Some(first).filter(|first| !first.is_closed());
        }
        match next {
            Some(_) => {
                account.held += 1;
                self.used += 1;
            }
            None => self.forget(key),
        }
        next
    }

    /// Keeps nothing of who holds nothing and does not wait.
    fn forget(&mut self, key: Party) {
        if self.holders.get(&key).is_some_and(Holder::is_at_rest) {
            self.holders.remove(&key);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        {
            let mut state = self.shares.state.borrow_mut();
            state.used -= 1;
            if let Entry::Occupied(mut account) = state.holders.entry(self.holder) {
                account.get_mut().held -= 1;
                if account.get().is_at_rest() {
                    account.remove();
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

    const A: Party = Party(1);
    const B: Party = Party(2);

    /// All that a caller gets without waiting.
    fn all(shares: &Rc<Shares>, caller: Party) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(caller).now_or_never()?.ok()).collect()
    }

    #[tokio::test]
    async fn a_caller_takes_half_of_what_others_leave() {
        let shares = Shares::among(256);
        let held: Vec<_> = (1..=8).map(|caller| all(&shares, Party(caller))).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [128, 64, 32, 16, 8, 4, 2, 1]);
        drop(held);
        let state = shares.state.borrow();
        assert_eq!((state.used, state.holders.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_single_connection_can_be_used() {
        let shares = Shares::among(1);
        let held = all(&shares, A);
        assert_eq!(held.len(), 1);
        drop(held);
        assert_eq!(all(&shares, B).len(), 1);
    }

    #[tokio::test]
    async fn what_comes_back_goes_to_who_holds_least_and_has_not_given_up() {
        let shares = Shares::among(8);
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
        let granted = next.now_or_never().expect("it came back");
        drop((granted, held));
        assert!(again.now_or_never().expect("all came back").is_ok());
        assert_eq!(shares.state.borrow().used, 0);
    }

    #[tokio::test]
    async fn a_queue_has_an_end() {
        let shares = Shares::among(2);
        let held = all(&shares, A);
        let mut waiting = Vec::new();
        for _ in held.len()..2 * FOR_EACH_CONNECTION {
            assert_eq!(shares.check(A), Ok(()));
            let mut one = Box::pin(shares.take(A));
            assert!((&mut one).now_or_never().is_none());
            waiting.push(one);
        }
        assert_eq!(shares.take(A).now_or_never().map(Result::err), Some(Some(OverShare)));
        assert_eq!((shares.check(A), shares.check(B)), (Err(OverShare), Ok(())));
        drop((held, waiting));
        assert_eq!(shares.state.borrow().used, 0);
    }
}
