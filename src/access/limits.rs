//! How much one caller may ask for: requests per second, and requests at a time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Callers that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

/// The limits, each for one caller at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second in the long run, and at once after a pause.
    pub rate: Option<(NonZeroU32, NonZeroU32)>,
    /// Requests at a time.
    pub concurrency: Option<NonZeroU32>,
}

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many per second; it makes sense to try again after this time.
    #[error("too many requests per second")]
    Rate(Duration),
    /// Too many at a time.
    #[error("too many requests at a time")]
    Concurrency,
}

/// Keeps count of what callers do.
#[derive(Default)]
pub struct Meter {
    limits: Limits,
    callers: Mutex<HashMap<String, Arc<Usage>>>,
}

struct Usage {
    rate: Option<DefaultDirectRateLimiter>,
    running: AtomicU32,
}

/// A request that runs; it counts until this is dropped.
pub struct Permit(Option<Arc<Usage>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(usage) = &self.0 {
            usage.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Meter {
    /// A meter that nobody has used yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, callers: Mutex::default() }
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// [`Excess`].
    pub fn admit(&self, caller: &str) -> Result<Permit, Excess> {
        // Without limits there is nothing to count, and no lock to take.
        if self.limits == Limits::default() {
            return Ok(Permit(None));
        }
        let usage = self.usage(caller);
        let running = usage.running.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Some(Arc::clone(&usage)));
        if self.limits.concurrency.is_some_and(|limit| running >= limit.get()) {
            return Err(Excess::Concurrency);
        }
        if let Some(Err(early)) = usage.rate.as_ref().map(RateLimiter::check) {
            return Err(Excess::Rate(early.wait_time_from(DefaultClock::default().now())));
        }
        Ok(permit)
    }

    fn usage(&self, caller: &str) -> Arc<Usage> {
        // Nothing can panic while it is held, so what a poisoned lock guards is sound.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = callers.get(caller) {
            return Arc::clone(usage);
        }
        if callers.len() >= REMEMBERED {
            callers.retain(|_, usage| usage.running.load(Ordering::Relaxed) > 0);
        }
        let rate =
            self.limits.rate.map(|(rate, burst)| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)));
        let usage = Arc::new(Usage { rate, running: AtomicU32::new(0) });
        callers.insert(caller.to_owned(), Arc::clone(&usage));
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(rate: Option<(u32, u32)>, concurrency: Option<u32>) -> Meter {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let rate = rate.map(|(rate, burst)| (number(rate), number(burst)));
        Meter::new(Limits { rate, concurrency: concurrency.map(number) })
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_holds() {
        let meter = meter(Some((1, 3)), None);
        for _ in 0..3 {
            assert!(meter.admit("ci").is_ok());
        }
        let Err(Excess::Rate(wait)) = meter.admit("ci") else { panic!("over the rate") };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(meter.admit("ada").is_ok(), "others are not affected");
    }

    #[test]
    fn running_requests_count_until_they_end() {
        let meter = meter(None, Some(2));
        let first = meter.admit("ci").ok();
        let second = meter.admit("ci").ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(meter.admit("ci").err(), Some(Excess::Concurrency));
        assert_eq!(meter.admit("ci").err(), Some(Excess::Concurrency), "a refusal does not count as running");
        drop(first);
        assert!(meter.admit("ci").is_ok());
    }

    #[test]
    fn callers_at_rest_are_forgotten() {
        let meter = meter(None, Some(1));
        let running = meter.admit("ci").ok();
        for number in 0..=2 * REMEMBERED {
            assert!(meter.admit(&number.to_string()).is_ok());
        }
        assert!(meter.callers.lock().expect("not poisoned").len() <= REMEMBERED + 1);
        assert_eq!(meter.admit("ci").err(), Some(Excess::Concurrency), "but not those that run");
        drop(running);
    }
}
