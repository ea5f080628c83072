//! The clock skew: the difference between AWS's clock and ours, so that signatures carry AWS's time.
//!
//! AWS rejects a signature whose time is wrong by more than five minutes, and its response has AWS's time in `Date`. Only such
//! a rejection changes the skew. If this machine's clock is corrected later, signatures with the old skew are rejected, and
//! that rejection corrects the skew.
//!
//! SECURITY: a server that answers as the upstream could make the appliance sign for another time, but only requests to itself,
//! and by no more than `LIMIT`. TLS proves which server that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// AWS accepts five minutes; `Date` took a while to arrive.
const TOLERANCE: Duration = Duration::from_mins(4);
/// A smaller difference counts as none: `Date` has whole seconds and takes a while to arrive.
const NONE: Duration = Duration::from_secs(30);
/// The largest skew that is corrected.
const LIMIT: Duration = Duration::from_hours(24);

/// The difference, which all signers with the same credentials share. A clone shares it as well.
#[derive(Clone, Debug, Default)]
pub struct Skew(Arc<AtomicI64>);

impl Skew {
    /// Converts a time of our clock to AWS's clock.
    #[must_use]
    pub fn correct(&self, now: SystemTime) -> SystemTime {
        // Relaxed: the number guards no other memory.
        let seconds = self.seconds();
        if seconds == 0 {
            return now;
        }
        let difference = Duration::from_secs(seconds.unsigned_abs());
        let corrected = if seconds > 0 { now.checked_add(difference) } else { now.checked_sub(difference) };
        corrected.unwrap_or(now)
    }

    /// The number of seconds by which AWS's clock is ahead of ours.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Computes the skew from a rejection that AWS dated `there` and that arrived at `now`. The rejected request was signed for
    /// the time `signed`. Returns true if that time was the reason, so that a new signature will have another time.
    #[must_use]
    pub fn detect(&self, there: SystemTime, now: SystemTime, signed: SystemTime) -> bool {
        if between(there, signed) < TOLERANCE {
            return false;
        }
        let difference = between(there, now);
        if difference > LIMIT {
            return false;
        }
        let seconds = if difference < NONE { 0 } else { i64::try_from(difference.as_secs()).unwrap_or(0) };
        let seconds = if there < now { -seconds } else { seconds };
        self.0.store(seconds, Ordering::Relaxed);
        true
    }
}

fn between(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).or_else(|_| other.duration_since(one)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_hours(24 * 365 * 50);

    fn at(minutes: i64) -> SystemTime {
        let noon = SystemTime::UNIX_EPOCH + NOON;
        let away = Duration::from_secs(minutes.unsigned_abs() * 60);
        if minutes < 0 { noon - away } else { noon + away }
    }

    #[test]
    fn clock_skew_is_corrected_in_both_directions() {
        for minutes in [-1440, -20, -5, 5, 20, 1440] {
            let skew = Skew::default();
            assert!(skew.detect(at(minutes), at(0), at(0)), "{minutes}");
            assert_eq!(skew.correct(at(0)), at(minutes), "{minutes}");
            assert_eq!(skew.correct(at(7)), at(minutes + 7), "{minutes}");
        }
    }

    #[test]
    fn an_error_for_another_reason_changes_no_skew() {
        let skew = Skew::default();
        for minutes in [-3, 0, 3] {
            assert!(!skew.detect(at(minutes), at(0), at(0)), "{minutes}");
        }
        assert!(!skew.detect(at(1500), at(0), at(0)), "further off than is made up for");
        assert_eq!(skew.correct(at(0)), at(0));
    }

    #[test]
    fn a_corrected_clock_resets_the_skew() {
        let skew = Skew::default();
        assert!(skew.detect(at(20), at(0), at(0)));
        let signed = skew.correct(at(20));
        assert!(skew.detect(at(20), at(20), signed), "the clock has jumped to the right time");
        assert_eq!((skew.seconds(), skew.correct(at(21))), (0, at(21)));
    }
}
