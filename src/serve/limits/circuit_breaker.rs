//! The circuit breaker: stops requests to an upstream that cannot be reached, and probes it until it recovers.
//!
//! Without it, each request to an endpoint that is gone waits twice for the connect timeout, and all requests that arrive
//! meanwhile wait beside it. The breaker opens after a few failures in a row, with no response in between, in which the
//! upstream could not be reached or stayed silent. Three kinds of failures do not count:
//! - Any response, 429 and 503 among them, shows that the upstream can be reached. Callers wait out a storm of them as
//!   `Retry-After` says; a breaker would turn the rejection of some requests into the rejection of all.
//! - A connection that ends without a response, or with one that is not HTTP. The request of one caller can cause that, and
//!   must not take the target away from the others.
//! - A request that gets no response in time, while others get theirs. A caller can choose what takes long, and can send many
//!   such requests at once, whose time ends at the same moment.
//!
//! `readyz` stays green while the breaker is open: all instances see the same outage, and a load balancer or an Auto Scaling
//! group that takes them out would cause a second outage. The page and the log report it.
//!
//! All workers share a breaker. It is three numbers in one cache line, which are nearly always only read while the upstream responds:
//! the time of the last response is written at most ten times a second.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::backoff::spread;
use crate::serve::limits::shares::ShareHolder;

/// The number of failures in a row that opens the breaker.
pub(crate) const THRESHOLD: u32 = 5;
/// The time without requests before a probe; also the time that a probe has before another request may become one.
const PAUSE: Duration = Duration::from_secs(5);
/// The pause is shorter by up to this much, so that the instances of a fleet do not all probe at the same moment.
const SPREAD: Duration = Duration::from_secs(1);

/// The time of the last response is known this exactly.
const GRAIN_MS: u64 = 100;

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
    /// In milliseconds since `began`; 0 before the first response. The last response came at most [`GRAIN_MS`] later.
    responded: AtomicU64,
    /// The caller of the last probe, until it has failed in a way that the caller cannot choose.
    prober: AtomicUsize,
}

/// The time when an attempt began, by the clock of the breaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptStart(u64);

/// The kind of an attempt that the breaker permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptKind {
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
        Self {
            service,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            open_until: AtomicU64::new(0),
            responded: AtomicU64::new(0),
            prober: AtomicUsize::new(0),
        }
    }

    /// Permits a request of a caller. If the last probe was a request of the same caller and got no result, the next probe is left
    /// to another caller for a while: a caller that sends only slow requests must not send all probes.
    ///
    /// # Errors
    /// [`CircuitOpen`] while the breaker is open and this request is not a probe.
    pub(crate) fn permit(&self, caller: ShareHolder) -> Result<AttemptKind, CircuitOpen> {
        // Relaxed throughout: the numbers guard no other memory, and a request more or less does not matter.
        if self.open_until.load(Ordering::Relaxed) == 0 {
            return Ok(AttemptKind::Normal);
        }
        self.permit_at(self.now(), caller.number())
    }

    fn permit_at(&self, now: u64, caller: usize) -> Result<AttemptKind, CircuitOpen> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(AttemptKind::Normal);
        }
        let is_again = caller != 0 && caller == self.prober.load(Ordering::Relaxed);
        let due = if is_again { until + PAUSE_MS } else { until };
        if now < due {
            return Err(CircuitOpen { remaining: Duration::from_millis(due - now) });
        }
        let taken = self.open_until.compare_exchange(until, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed);
        taken.map_err(|_| CircuitOpen { remaining: PAUSE })?;
        self.prober.store(caller, Ordering::Relaxed);
        Ok(AttemptKind::Probe)
    }

    /// Records a response of any status, which closes the breaker.
    pub(crate) fn record_response(&self) {
        self.record_response_at(self.now());
    }

    fn record_response_at(&self, now: u64) {
        let last = self.responded.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= GRAIN_MS {
            self.responded.store(now, Ordering::Relaxed);
        }
        let is_clean = self.failures.load(Ordering::Relaxed) == 0 && self.open_until.load(Ordering::Relaxed) == 0;
        if is_clean {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        if self.open_until.swap(0, Ordering::Relaxed) != 0 {
            info!(service = self.service, "the circuit breaker has closed: the upstream responds again");
        }
    }

    /// Notes the time at which an attempt begins.
    #[must_use]
    pub(crate) fn begin(&self) -> AttemptStart {
        AttemptStart(self.now())
    }

    /// Records that a permitted request got no response in time. This counts as a failure only if no other request got a response
    /// meanwhile. If the request was a probe, nothing changes: the pause that began with the probe continues.
    pub(crate) fn record_silence(&self, kind: AttemptKind, start: AttemptStart) {
        let last = self.responded.load(Ordering::Relaxed);
        if kind == AttemptKind::Normal && (last == 0 || last + GRAIN_MS <= start.0) {
            self.record_failure(kind);
        }
    }

    /// Records that a permitted request could not reach the upstream.
    pub(crate) fn record_failure(&self, kind: AttemptKind) {
        let less = u64::try_from(spread(Duration::ZERO..=SPREAD).as_millis()).unwrap_or(0);
        self.record_failure_at(kind, self.now(), less);
    }

    /// Notes a failure at the given time, with a pause that is shorter by `less` milliseconds.
    fn record_failure_at(&self, kind: AttemptKind, now: u64, less: u64) {
        let count = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = now + PAUSE_MS - less;
        match kind {
            AttemptKind::Probe => {
                self.prober.store(0, Ordering::Relaxed);
                self.open_until.store(until, Ordering::Relaxed);
            }
            // Requests that were in flight when the breaker opened do not prolong the pause.
            AttemptKind::Normal if count >= THRESHOLD => {
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
            AttemptKind::Normal => {}
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
mod tests;
