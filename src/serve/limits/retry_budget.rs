//! How many retries a target is granted: a share of its requests, and a few more for quiet times.
//!
//! Without a bound, an upstream that fails every request is sent twice as many. With one, it is sent a tenth more at
//! most, and whoever asks once a minute still gets a second attempt. One for each worker and target, so nothing is shared
//! and counting costs an addition.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A retry costs what this many requests earn.
const COST: u32 = 10;
/// Retries that can be saved up; what a burst of failures may take.
const SAVED: u32 = 20;
/// Without any requests, a retry is earned in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker's allowance for one target.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// In requests: [`COST`] of them pay for a retry.
    balance: Cell<u32>,
    paid: Cell<Instant>,
}

impl Default for Allowance {
    /// Full: the first requests are the ones that meet a deployment that is not quite there.
    fn default() -> Self {
        Self { balance: Cell::new(SAVED * COST), paid: Cell::new(Instant::now()) }
    }
}

impl Allowance {
    /// Counts a request.
    pub(crate) fn earn(&self) {
        self.balance.set((self.balance.get() + 1).min(SAVED * COST));
    }

    /// True if there is a retry left.
    #[must_use]
    pub(crate) fn has_left(&self) -> bool {
        self.has_left_at(Instant::now())
    }

    fn has_left_at(&self, now: Instant) -> bool {
        // Looked at only when something has failed, so that the clock is not read for each request.
        let earned = now.saturating_duration_since(self.paid.get()).as_secs() / INTERVAL.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX).saturating_mul(COST);
            self.balance.set(self.balance.get().saturating_add(earned).min(SAVED * COST));
            self.paid.set(now);
        }
        self.balance.get() >= COST
    }

    /// Takes a retry.
    pub(crate) fn spend(&self) {
        self.balance.set(self.balance.get().saturating_sub(COST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_requests_and_a_few_more() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        let mut retries = 0;
        for _ in 0..10_000 {
            allowance.earn();
            if allowance.has_left_at(now) {
                allowance.spend();
                retries += 1;
            }
        }
        // What the first request would have earned has no room beside what was saved.
        assert_eq!(retries, 10_000 / COST + SAVED - 1, "of 10,000 requests that all fail");
    }

    #[test]
    fn a_quiet_target_earns_by_time_and_saves_no_more_than_its_limit() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        while allowance.has_left_at(now) {
            allowance.spend();
        }
        assert!(!allowance.has_left_at(now + INTERVAL / 2));
        assert!(allowance.has_left_at(now + INTERVAL));
        allowance.spend();
        assert!(!allowance.has_left_at(now + INTERVAL + INTERVAL / 2));
        let much_later = now + INTERVAL * 100_000;
        let mut left = 0;
        while allowance.has_left_at(much_later) {
            allowance.spend();
            left += 1;
        }
        assert_eq!(left, SAVED);
    }
}
