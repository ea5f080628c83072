//! The circuit breaker: stops requests to an upstream that cannot be reached, and probes it until it recovers.
//!
//! Without it, each request to an endpoint that is gone waits twice for the connect timeout, and all requests that arrive
//! meanwhile wait beside it. The breaker opens after a few failures in a row, with no response in between, in which the
//! upstream could not be reached or stayed silent. Two kinds of failures do not count:
//! - Any response, 429 and 503 among them, shows that the upstream can be reached. Callers wait out a storm of them as
//!   `Retry-After` says; a breaker would turn the rejection of some requests into the rejection of all.
//! - A connection that ends without a response, or with one that is not HTTP. The request of one caller can cause that, and
//!   must not take the target away from the others.
//!
//! `readyz` stays green while the breaker is open: all instances see the same outage, and a load balancer or an Auto Scaling
//! group that takes them out would cause a second outage. The page and the log report it.
//!
//! All workers share a breaker. It is two numbers in one cache line, which are only read while the upstream responds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::backoff::spread;

/// The number of failures in a row that opens the breaker.
pub(crate) const THRESHOLD: u32 = 5;
/// The time without requests before a probe; also the time that a probe has before another request may become one.
const PAUSE: Duration = Duration::from_secs(5);
/// The pause is shorter by up to this much, so that the instances of a fleet do not all probe at the same moment.
const SPREAD: Duration = Duration::from_secs(1);

/// The circuit breaker of one upstream.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// The name of the service, for the log.
    service: &'static str,
    began: Instant,
    /// The number of failures in a row.
    failures: AtomicU32,
    /// In milliseconds since `began`; 0 means that the breaker is closed.
    open_until: AtomicU64,
}

/// Permission to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The breaker is closed.
    Normal,
    /// The breaker is open, and this request finds out if the upstream has recovered.
    Probe,
}

/// The breaker rejects requests at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CircuitOpen {
    /// The time until the next probe.
    pub remaining: Duration,
}

impl CircuitBreaker {
    /// Returns the closed breaker of a service.
    pub(crate) fn to(service: &'static str) -> Self {
        Self { service, began: Instant::now(), failures: AtomicU32::new(0), open_until: AtomicU64::new(0) }
    }

    /// Permits a request.
    ///
    /// # Errors
    /// [`CircuitOpen`] while the breaker is open and this request is not a probe.
    pub(crate) fn admit(&self) -> Result<Admission, CircuitOpen> {
        // Relaxed throughout: the numbers guard no other memory, and a request more or less does not matter.
        if self.open_until.load(Ordering::Relaxed) == 0 { Ok(Admission::Normal) } else { self.admit_at(self.now()) }
    }

    fn admit_at(&self, now: u64) -> Result<Admission, CircuitOpen> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(Admission::Normal);
        }
        if now < until {
            return Err(CircuitOpen { remaining: Duration::from_millis(until - now) });
        }
        let taken = self.open_until.compare_exchange(until, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed);
        taken.map(|_| Admission::Probe).map_err(|_| CircuitOpen { remaining: PAUSE })
    }

    /// Records a response of any status, which closes the breaker.
    pub(crate) fn record_response(&self) {
        let is_clean = self.failures.load(Ordering::Relaxed) == 0 && self.open_until.load(Ordering::Relaxed) == 0;
        if is_clean {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        if self.open_until.swap(0, Ordering::Relaxed) != 0 {
            info!(service = self.service, "the circuit breaker has closed: the upstream responds again");
        }
    }

    /// Records that a permitted request could not reach the upstream.
    pub(crate) fn record_failure(&self, admission: Admission) {
        let less = u64::try_from(spread(Duration::ZERO..=SPREAD).as_millis()).unwrap_or(0);
        self.record_failure_at(admission, self.now(), less);
    }

    /// Notes a failure at the given time, with a pause that is shorter by `less` milliseconds.
    fn record_failure_at(&self, admission: Admission, now: u64, less: u64) {
        let count = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = now + PAUSE_MS - less;
        match admission {
            Admission::Probe => self.open_until.store(until, Ordering::Relaxed),
            // Requests that were in flight when the breaker opened do not prolong the pause.
            Admission::Normal if count >= THRESHOLD => {
                let opened = self.open_until.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed);
                if opened.is_ok() {
                    warn!(
                        service = self.service,
                        failures = count,
                        probe_every_s = PAUSE.as_secs(),
                        hint = "the last log events name the cause; `appliance check` tries each step",
                        "the circuit breaker has opened: the upstream cannot be reached, and requests are rejected until it responds to a probe"
                    );
                }
            }
            Admission::Normal => {}
        }
    }

    /// Returns true while requests are rejected.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != 0
    }

    fn now(&self) -> u64 {
        // The value is never 0, because 0 means that the breaker is closed.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2).max(1)
    }
}

const PAUSE_MS: u64 = PAUSE.as_secs() * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(at: u64) -> CircuitBreaker {
        let breaker = CircuitBreaker::to("managed MLflow");
        for number in 0..THRESHOLD {
            assert_eq!(breaker.admit_at(at), Ok(Admission::Normal), "after {number} failures");
            breaker.record_failure_at(Admission::Normal, at, 0);
        }
        breaker
    }

    #[test]
    fn the_breaker_opens_only_after_failures_in_a_row() {
        let breaker = CircuitBreaker::to("managed MLflow");
        for _ in 0..100 {
            for _ in 1..THRESHOLD {
                breaker.record_failure_at(Admission::Normal, 1, 0);
            }
            breaker.record_response();
        }
        assert_eq!(breaker.admit_at(1), Ok(Admission::Normal));
        let breaker = open(1000);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit_at(1000), Err(CircuitOpen { remaining: PAUSE }));
        assert_eq!(breaker.admit_at(1001 + PAUSE_MS - 2), Err(CircuitOpen { remaining: Duration::from_millis(1) }));
    }

    #[test]
    fn only_one_probe_is_in_flight_at_a_time() {
        let breaker = open(1000);
        let later = 1000 + PAUSE_MS;
        assert_eq!(breaker.admit_at(later), Ok(Admission::Probe));
        assert!(breaker.admit_at(later).is_err(), "other requests are rejected meanwhile");
        breaker.record_failure_at(Admission::Probe, later + 100, 0);
        assert_eq!(breaker.admit_at(later + 100), Err(CircuitOpen { remaining: PAUSE }));
        let again = later + 100 + PAUSE_MS;
        assert_eq!(breaker.admit_at(again), Ok(Admission::Probe));
        breaker.record_response();
        assert!(!breaker.is_open());
        assert_eq!(breaker.admit_at(again), Ok(Admission::Normal));
        assert_eq!(breaker.admit_at(again), Ok(Admission::Normal));
    }

    #[test]
    fn a_probe_without_a_result_does_not_block_the_next_one_for_ever() {
        let breaker = open(1000);
        assert_eq!(breaker.admit_at(1000 + PAUSE_MS), Ok(Admission::Probe));
        assert!(breaker.admit_at(1000 + 2 * PAUSE_MS - 1).is_err());
        assert_eq!(breaker.admit_at(1000 + 2 * PAUSE_MS), Ok(Admission::Probe));
    }

    #[test]
    fn late_failures_do_not_prolong_the_pause_and_any_response_closes_the_breaker() {
        let breaker = open(1000);
        breaker.record_failure_at(Admission::Normal, 1000 + PAUSE_MS - 1, 0);
        assert_eq!(breaker.admit_at(1000 + PAUSE_MS), Ok(Admission::Probe));
        breaker.record_response();
        assert_eq!(breaker.admit_at(1000 + PAUSE_MS), Ok(Admission::Normal));
    }
}
