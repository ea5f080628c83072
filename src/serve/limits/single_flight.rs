//! One fetch at a time for a key: requests that need the same thing wait for the one that fetches it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The fetches in progress, by their keys.
#[derive(Default)]
pub(crate) struct SingleFlight<K>(Mutex<HashMap<K, Arc<Notify>>>);

/// A fetch in progress, which ends when this is dropped.
pub(crate) struct Flight<'a, K: Eq + Hash>(&'a SingleFlight<K>, K);

impl<K: Clone + Eq + Hash> SingleFlight<K> {
    /// Returns what `find` finds, also after the fetch of another request, or the right to fetch.
    pub(crate) async fn find_or_begin<T>(
        &self,
        key: &K,
        mut find: impl FnMut() -> Option<T>,
    ) -> Result<T, Flight<'_, K>> {
        loop {
            let other = {
                // `find` is inside the lock, so that no fetch ends between it and the look at the fetches.
                let mut fetches = self.fetches();
                if let Some(found) = find() {
                    return Ok(found);
                }
                let Some(other) = fetches.get(key) else {
                    fetches.insert(key.clone(), Arc::default());
                    return Err(Flight(self, key.clone()));
                };
                Arc::clone(other).notified_owned()
            };
            other.await;
        }
    }
}

impl<K> SingleFlight<K> {
    fn fetches(&self) -> MutexGuard<'_, HashMap<K, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Flight<'_, K> {
    fn drop(&mut self) {
        if let Some(end) = self.0.fetches().remove(&self.1) {
            end.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_request_fetches_and_the_others_wait_for_it() {
        let (flights, known) = (SingleFlight::default(), Cell::new(None));
        let find = || known.get();
        let first = flights.find_or_begin(&"a", find).now_or_never().expect("nobody else fetches").err();
        assert!(first.is_some());
        let mut second = Box::pin(flights.find_or_begin(&"a", find));
        assert!((&mut second).now_or_never().is_none());
        assert!(flights.find_or_begin(&"b", find).now_or_never().is_some_and(|other| other.is_err()));
        known.set(Some(1));
        drop(first);
        assert_eq!(second.now_or_never().and_then(Result::ok), Some(1));
        assert!(flights.fetches().is_empty());
    }

    #[test]
    fn the_next_request_fetches_if_a_fetch_has_found_nothing() {
        let flights = SingleFlight::default();
        let find = || None::<u32>;
        let first = flights.find_or_begin(&1, find).now_or_never();
        let mut second = Box::pin(flights.find_or_begin(&1, find));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some_and(|right| right.is_err()));
    }
}
