//! The keys of one issuer: fetched ahead of time by one task, and kept while the issuer cannot be reached.
//!
//! The name of a key comes from a token that is not verified yet, so an unauthenticated client can make up any number of names.
//! Such a name makes the task fetch the keys at most once in [`SHORTEST_INTERVAL`], whatever the number of requests, and the
//! requests that wait for that are bounded: the oldest give way, so a flood displaces itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::access::jwt::KeySet;
use crate::backoff::Backoff;
use crate::error_chain;
use crate::http::client::Dialer;
use crate::issuer::{DiscoveryDocument, KeySource, TrustedIssuer, fetch};

/// The time after which published keys are fetched again, and files are reloaded.
const REFRESH: (Duration, Duration) = (Duration::from_mins(15), Duration::from_mins(1));
/// The least time between the beginnings of two fetches.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(3);
/// The longest first wait and the longest wait of all after a fetch that failed.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(3), Duration::from_secs(60));
/// The time for which keys serve without a successful fetch. SECURITY: an issuer that withdraws a key and cannot be reached is
/// not obeyed for this long.
const STALE_LIMIT: Duration = Duration::from_hours(24);
/// The number of requests that wait for a fetch.
const WAITERS_LIMIT: usize = 1024;

/// The keys of one issuer, which all workers share.
#[derive(Default)]
pub(crate) struct PublishedKeys {
    current: ArcSwapOption<KeySet>,
    discovery: ArcSwapOption<DiscoveryDocument>,
    generation: AtomicU64,
    /// The numbers of fetches that succeeded and that failed.
    pub(crate) fetches: FetchCounts,
    is_wanted: Notify,
    waiters: Mutex<VecDeque<Waiter>>,
}

/// The numbers of fetches of an issuer's keys.
#[derive(Default)]
pub(crate) struct FetchCounts {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A request that waits for the end of a fetch.
struct Waiter {
    since: Instant,
    end: oneshot::Sender<FetchEnd>,
}

/// The end of a fetch, for a request that waited for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchEnd {
    /// True if the fetch began after the request had begun to wait.
    pub(super) began_later: bool,
    pub(super) succeeded: bool,
}

impl PublishedKeys {
    /// Returns the keys, if there are any.
    pub(crate) fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// Returns the issuer's discovery document, if the keys were found through it.
    pub(crate) fn discovery(&self) -> Option<Arc<DiscoveryDocument>> {
        self.discovery.load_full()
    }

    /// Returns a number that changes when a key is withdrawn.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks for newer keys, and waits for the end of a fetch. Returns nothing if too many requests came later.
    pub(super) async fn next_fetch(&self) -> Option<FetchEnd> {
        let (end, ended) = oneshot::channel();
        {
            let mut waiters = self.waiters();
            waiters.push_back(Waiter { since: Instant::now(), end });
            if waiters.len() > WAITERS_LIMIT {
                waiters.pop_front();
            }
        }
        self.refresh();
        ended.await.ok()
    }

    /// Asks for newer keys, without waiting for them.
    pub(crate) fn refresh(&self) {
        self.is_wanted.notify_one();
    }

    fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the keys again at each interval, for as long as it is polled. Exactly one task runs this.
    pub(crate) async fn keep_fetched(&self, trusted: &TrustedIssuer, dialer: &Dialer) {
        let interval = if matches!(trusted.keys, KeySource::File(_)) { REFRESH.1 } else { REFRESH.0 };
        let mut backoff = BACKOFF;
        let mut succeeded = Instant::now();
        loop {
            let began = Instant::now();
            let is_success = self.fetch(trusted, dialer).await;
            let wait = if is_success {
                succeeded = Instant::now();
                backoff = BACKOFF;
                // The appliances of a set do not ask at the same time.
                interval.mul_f64(0.9 + fastrand::f64() / 10.0)
            } else {
                self.forget_stale(trusted, succeeded);
                backoff.wait()
            };
            for Waiter { since, end } in std::mem::take(&mut *self.waiters()) {
                let _ = end.send(FetchEnd { began_later: began >= since, succeeded: is_success });
            }
            // A request that came during the fetch has to wait for another one.
            let _ = timeout_at(Instant::now() + wait, self.is_wanted.notified()).await;
            sleep_until(began + SHORTEST_INTERVAL).await;
        }
    }

    /// Fetches the keys once. Returns true for success.
    async fn fetch(&self, trusted: &TrustedIssuer, dialer: &Dialer) -> bool {
        let issuer = &*trusted.issuer.name;
        match fetch(trusted, dialer).await {
            Ok(fetched) => {
                self.fetches.succeeded.fetch_add(1, Ordering::Relaxed);
                self.discovery.store(fetched.discovery.map(Arc::new));
                self.replace(issuer, fetched.keys);
                true
            }
            Err(error) => {
                self.fetches.failed.fetch_add(1, Ordering::Relaxed);
                let error = error_chain::joined(&error);
                let keys = self.current.load().as_ref().map_or(0, |keys| keys.len());
                let hint = "run `appliance check`; callers whose keys are known are not affected for a day";
                warn!(issuer, error, keys, hint, "cannot fetch the keys of an issuer");
                false
            }
        }
    }

    fn replace(&self, issuer: &str, new: KeySet) {
        let old = self.current.load_full();
        if old.as_deref() == Some(&new) {
            return;
        }
        let is_withdrawal = old.is_some_and(|old| !old.is_within(&new));
        info!(issuer, keys = new.len(), is_withdrawal, "the keys of an issuer were fetched");
        self.current.store(Some(Arc::new(new)));
        if is_withdrawal {
            // SECURITY: the number changes after the keys, so that nothing is remembered with the old keys and the new number.
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Forgets keys that are too old to be trusted.
    fn forget_stale(&self, trusted: &TrustedIssuer, succeeded: Instant) {
        if succeeded.elapsed() < STALE_LIMIT || self.current.load().is_none() {
            return;
        }
        let issuer = &*trusted.issuer.name;
        let hint = "allow the appliance to reach the issuer; until then, it rejects the issuer's tokens";
        warn!(issuer, hint, "the keys of an issuer are too old to be trusted");
        self.current.store(None);
        self.generation.fetch_add(1, Ordering::Release);
    }
}
