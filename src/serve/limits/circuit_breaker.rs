//! Stops asking a target that is not there, and finds out by one request at a time whether it is back.
//!
//! Without this, each request to an endpoint that is gone waits for the connect timeout, twice, and all that come
//! meanwhile wait beside it. Opens after a few failures in a row, with no answer to anybody in between, in which the
//! upstream could not be reached or kept silent. What does not count, and why:
//! - any answer, 429 and 503 among them. Whoever answers is there; a storm of them is for callers to wait out, who are
//!   told by `Retry-After`, and a circuit would turn the refusal of some requests into the refusal of all;
//! - a connection that ends without an answer, or nonsense. One caller's request can bring that about, and must not
//!   take the target away from the others.
//!
//! `readyz` stays green: all instances see the same outage, and a balancer that takes them out, or an Auto Scaling group
//! that replaces them, would make a second outage of it. The page says so, as does the log.
//!
//! SharedState by all workers, and made of two numbers in one cache line that are only read while all is well.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::backoff::spread;

/// Failures in a row.
pub(crate) const THRESHOLD: u32 = 5;
/// How long nobody asks; also how long a probe has before another request may be one.
const PAUSE: Duration = Duration::from_secs(5);
/// The pause is shorter by up to this much, so that the instances of a fleet do not all probe at the same moment.
const SPREAD: Duration = Duration::from_secs(1);

/// The circuit of one target.
#[derive(Debug)]
pub(crate) struct Circuit {
    /// The name of the service, for the log.
    service: &'static str,
    began: Instant,
    /// In a row.
    failures: AtomicU32,
    /// Milliseconds since `began`; 0 is closed.
    open_until: AtomicU64,
}

/// Leave to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Like everybody's.
    Usual,
    /// For one, to find out.
    Probe,
}

/// Nobody asks at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Until when.
    pub left: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::to("managed MLflow")
    }
}

impl Circuit {
    /// Returns a closed circuit to a service.
    #[must_use]
    pub(crate) fn to(service: &'static str) -> Self {
        Self { service, began: Instant::now(), failures: AtomicU32::new(0), open_until: AtomicU64::new(0) }
    }

    /// Asks for leave.
    ///
    /// # Errors
    /// [`Open`].
    pub(crate) fn admit(&self) -> Result<Pass, Open> {
        // Relaxed throughout: the numbers guard no other memory, and a request more or less does not matter.
        if self.open_until.load(Ordering::Relaxed) == 0 { Ok(Pass::Usual) } else { self.admit_at(self.now()) }
    }

    fn admit_at(&self, now: u64) -> Result<Pass, Open> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(Pass::Usual);
        }
        if now < until {
            return Err(Open { left: Duration::from_millis(until - now) });
        }
        let taken = self.open_until.compare_exchange(until, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed);
        taken.map(|_| Pass::Probe).map_err(|_| Open { left: PAUSE })
    }

    /// Takes note of an answer, whatever it says.
    pub(crate) fn answered(&self) {
        let is_clean = self.failures.load(Ordering::Relaxed) == 0 && self.open_until.load(Ordering::Relaxed) == 0;
        if is_clean {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        if self.open_until.swap(0, Ordering::Relaxed) != 0 {
            info!(service = self.service, "the upstream answers again; requests are passed on");
        }
    }

    /// Takes note that a request that had been given leave met nobody.
    pub(crate) fn failed(&self, pass: Pass) {
        let less = u64::try_from(spread(Duration::ZERO..=SPREAD).as_millis()).unwrap_or(0);
        self.failed_at(pass, self.now(), less);
    }

    /// Does the same at the given time, with a pause that is shorter by `less` milliseconds.
    fn failed_at(&self, pass: Pass, now: u64, less: u64) {
        let count = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = now + PAUSE_MS - less;
        match pass {
            Pass::Probe => self.open_until.store(until, Ordering::Relaxed),
            // Those that were on their way when it opened do not prolong it.
            Pass::Usual if count >= THRESHOLD => {
                let opened = self.open_until.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed);
                if opened.is_ok() {
                    warn!(
                        service = self.service,
                        failures = count,
                        probe_every_s = PAUSE.as_secs(),
                        hint = "look at what the last requests say of the cause; `appliance check` tries each step",
                        "the upstream cannot be reached; requests are refused until it answers a probe"
                    );
                }
            }
            Pass::Usual => {}
        }
    }

    /// True while requests are refused.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != 0
    }

    fn now(&self) -> u64 {
        // Never 0, which means closed.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2).max(1)
    }
}

const PAUSE_MS: u64 = PAUSE.as_secs() * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(at: u64) -> Circuit {
        let circuit = Circuit::default();
        for number in 0..THRESHOLD {
            assert_eq!(circuit.admit_at(at), Ok(Pass::Usual), "after {number} failures");
            circuit.failed_at(Pass::Usual, at, 0);
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        let circuit = Circuit::default();
        for _ in 0..100 {
            for _ in 1..THRESHOLD {
                circuit.failed_at(Pass::Usual, 1, 0);
            }
            circuit.answered();
        }
        assert_eq!(circuit.admit_at(1), Ok(Pass::Usual));
        let circuit = open(1000);
        assert!(circuit.is_open());
        assert_eq!(circuit.admit_at(1000), Err(Open { left: PAUSE }));
        assert_eq!(circuit.admit_at(1001 + PAUSE_MS - 2), Err(Open { left: Duration::from_millis(1) }));
    }

    #[test]
    fn one_probe_at_a_time_finds_out() {
        let circuit = open(1000);
        let later = 1000 + PAUSE_MS;
        assert_eq!(circuit.admit_at(later), Ok(Pass::Probe));
        assert!(circuit.admit_at(later).is_err(), "the others wait for it");
        circuit.failed_at(Pass::Probe, later + 100, 0);
        assert_eq!(circuit.admit_at(later + 100), Err(Open { left: PAUSE }));
        let again = later + 100 + PAUSE_MS;
        assert_eq!(circuit.admit_at(again), Ok(Pass::Probe));
        circuit.answered();
        assert!(!circuit.is_open());
        assert_eq!(circuit.admit_at(again), Ok(Pass::Usual));
        assert_eq!(circuit.admit_at(again), Ok(Pass::Usual));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_blocks_nobody_for_ever() {
        let circuit = open(1000);
        assert_eq!(circuit.admit_at(1000 + PAUSE_MS), Ok(Pass::Probe));
        assert!(circuit.admit_at(1000 + 2 * PAUSE_MS - 1).is_err());
        assert_eq!(circuit.admit_at(1000 + 2 * PAUSE_MS), Ok(Pass::Probe));
    }

    #[test]
    fn failures_that_were_on_their_way_do_not_prolong_it_and_any_answer_ends_it() {
        let circuit = open(1000);
        circuit.failed_at(Pass::Usual, 1000 + PAUSE_MS - 1, 0);
        assert_eq!(circuit.admit_at(1000 + PAUSE_MS), Ok(Pass::Probe));
        circuit.answered();
        assert_eq!(circuit.admit_at(1000 + PAUSE_MS), Ok(Pass::Usual));
    }
}
