//! Exponential backoff with jitter.
//!
//! The waits double up to a limit, and each is random within its step. Without jitter, all clients that failed at the same
//! moment (the workers of a process, the instances of a fleet) would retry at the same moment and overload the service again.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The waits of one series of attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    step: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits of at most `first`, then of at most twice that, and never of more than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { step: first, longest }
    }

    /// Returns the next wait, which lies between half of the step and the whole step.
    pub fn wait(&mut self) -> Duration {
        let step = self.step.min(self.longest);
        self.step = step.saturating_mul(2);
        spread(step / 2..=step)
    }
}

/// Returns a random duration within these bounds, both included, in whole milliseconds, since people read it in messages.
#[must_use]
pub fn spread(range: RangeInclusive<Duration>) -> Duration {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1);
    let (least, most) = (range.start().saturating_add(Duration::from_nanos(999_999)), *range.end());
    let (least, most) = (milliseconds(least), milliseconds(most));
    Duration::from_millis(fastrand::u64(least..=most.max(least)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_each_series_differs() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let mut backoff = Backoff::new(first, longest);
            let mut series = Vec::new();
            for step in [100, 200, 400, 800, 1000, 1000] {
                let wait = backoff.wait();
                let step = Duration::from_millis(step);
                assert!((step / 2..=step).contains(&wait), "{wait:?} of {step:?}");
                series.push(wait);
            }
            seen.insert(series);
        }
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn a_spread_reaches_all_of_its_range_and_nothing_else() {
        let range = Duration::from_millis(50)..=Duration::from_millis(250);
        let waits: Vec<_> = (0..1000).map(|_| spread(range.clone())).collect();
        assert!(waits.iter().all(|wait| range.contains(wait)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(80)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(220)));
        assert_eq!(spread(Duration::ZERO..=Duration::ZERO), Duration::ZERO);
    }
}
