//! Distributions of durations over buckets, and their quantiles.

use std::time::Duration;

/// The inclusive upper bounds of the buckets, from the appliance's own overhead to the longest wait for a response. In
/// microseconds, and in seconds as Prometheus writes them.
pub(crate) const BOUNDS: [(u64, &str); 19] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
    (120_000_000, "120"),
];
/// The number of buckets. The last one is for durations above all bounds.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// Returns the bucket of a duration in microseconds.
pub(crate) fn bucket(micros: u64) -> usize {
    BOUNDS.partition_point(|(bound, _)| *bound < micros)
}

/// Returns a duration in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Observed durations by bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// The observations in each bucket, not cumulated.
    pub buckets: [u64; BUCKETS],
    /// The sum of all durations in microseconds.
    pub sum: u64,
}

impl Distribution {
    /// Returns the number of observations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the difference to an earlier distribution.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (now, before) in buckets.iter_mut().zip(&earlier.buckets) {
            *now = now.saturating_sub(*before);
        }
        Self { buckets, sum: self.sum.saturating_sub(earlier.sum) }
    }

    /// Adds another distribution.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }

    /// Returns the quantile `part` (0 to 1) in milliseconds, or nothing without an observation. It is an estimate that
    /// assumes observations to be spread evenly within a bucket.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = part * count as f64;
        let mut below = 0;
        for (index, inside) in self.buckets.iter().enumerate() {
            let upto = below + inside;
            if *inside > 0 && upto as f64 >= wanted {
                let lower = index.checked_sub(1).map_or(0, |index| BOUNDS[index].0);
                // The last bucket has no upper bound.
                let upper = BOUNDS.get(index).map_or(lower, |(bound, _)| *bound);
                let share = ((wanted - below as f64) / *inside as f64).clamp(0.0, 1.0);
                return Some((lower as f64 + (upper - lower) as f64 * share) / 1000.0);
            }
            below = upto;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        for duration in durations {
            distribution.buckets[bucket(*duration)] += 1;
            distribution.sum += duration;
        }
        distribution
    }

    #[test]
    fn bounds_rise_and_are_written_in_seconds() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (bound, written) in BOUNDS {
            let seconds: f64 = written.parse().expect("a number");
            assert!((seconds * 1e6 - bound as f64).abs() < 0.01, "{written}");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (micros, expected) in [(0, 0), (100, 0), (101, 1), (250, 1), (120_000_000, 18), (120_000_001, 19)] {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_lie_within_the_bucket_that_holds_them() {
        assert_eq!(of(&[]).quantile(0.5), None);
        let distribution = of(&[200; 100]);
        assert_eq!(distribution.quantile(0.5), Some(0.175));
        assert_eq!(distribution.quantile(1.0), Some(0.25));
        let mixed = of(&[&[900; 98][..], &[40_000; 2]].concat());
        assert!(mixed.quantile(0.5).is_some_and(|median| (0.5..=1.0).contains(&median)));
        assert!(mixed.quantile(0.99).is_some_and(|high| (25.0..=50.0).contains(&high)));
        assert_eq!(of(&[500_000_000]).quantile(0.5), Some(120_000.0));
    }

    #[test]
    fn since_is_the_difference_of_two_distributions() {
        let (early, late) = (of(&[10, 20]), of(&[10, 20, 700, 700]));
        assert_eq!(late.since(&early), of(&[700, 700]));
        let mut both = early;
        both.add(&of(&[700, 700]));
        assert_eq!(both, late);
    }
}
