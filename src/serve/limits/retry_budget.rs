//! The retry budget: a share of the requests to an upstream may be retried, and a few more in quiet times.
//!
//! Without a bound, an upstream that fails every request gets twice as many. With the budget it gets at most a tenth more, and
//! a client that sends one request a minute still gets its retry. Each worker has one budget for each upstream, so no lock is
//! needed and counting costs one addition.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A retry costs the deposits of this many requests.
const COST: u32 = 10;
/// The largest balance, in retries; a burst of failures may use all of it.
const SAVED: u32 = 20;
/// Even without requests, the balance grows by one retry in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker's retry budget for one upstream.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In requests; [`COST`] of them pay for a retry.
    balance: Cell<u32>,
    refilled: Cell<Instant>,
}

impl Default for RetryBudget {
    /// Returns a full budget: the first requests are the likeliest to meet an upstream that has not quite started.
    fn default() -> Self {
        Self { balance: Cell::new(SAVED * COST), refilled: Cell::new(Instant::now()) }
    }
}

impl RetryBudget {
    /// Counts a request.
    pub(crate) fn deposit(&self) {
        self.balance.set((self.balance.get() + 1).min(SAVED * COST));
    }

    /// Returns true if the balance pays for a retry.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left_at(Instant::now())
    }

    fn has_left_at(&self, now: Instant) -> bool {
        // This runs only after a failure, so that a request does not have to read the clock.
        let earned = now.saturating_duration_since(self.refilled.get()).as_secs() / INTERVAL.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX).saturating_mul(COST);
            self.balance.set(self.balance.get().saturating_add(earned).min(SAVED * COST));
            self.refilled.set(now);
        }
        self.balance.get() >= COST
    }

    /// Pays for a retry.
    pub(crate) fn withdraw(&self) {
        self.balance.set(self.balance.get().saturating_sub(COST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_a_tenth_of_the_requests_is_retried_and_a_few_more() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.deposit();
            if budget.has_left_at(now) {
                budget.withdraw();
                retries += 1;
            }
        }
        // The first deposit finds the balance full and is lost.
        assert_eq!(retries, 10_000 / COST + SAVED - 1, "of 10,000 requests that all fail");
    }

    #[test]
    fn the_balance_of_a_quiet_target_grows_with_time_up_to_its_limit() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        while budget.has_left_at(now) {
            budget.withdraw();
        }
        assert!(!budget.has_left_at(now + INTERVAL / 2));
        assert!(budget.has_left_at(now + INTERVAL));
        budget.withdraw();
        assert!(!budget.has_left_at(now + INTERVAL + INTERVAL / 2));
        let much_later = now + INTERVAL * 100_000;
        let mut left = 0;
        while budget.has_left_at(much_later) {
            budget.withdraw();
            left += 1;
        }
        assert_eq!(left, SAVED);
    }
}
