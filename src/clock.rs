//! The one place that asks what time it is, and the rule by which a certificate or a token ends soon.

use std::time::{Duration, SystemTime};

/// The longest time before the end at which it is soon.
const SOON: Duration = Duration::from_hours(14 * 24);

/// The system's time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns true if the last quarter of a validity has begun, and its last two weeks. By then, whatever renews it should have done so:
/// clients of ACME renew when a third is left.
#[must_use]
pub fn ends_soon(begin: SystemTime, end: SystemTime, now: SystemTime) -> bool {
    let lifetime = end.duration_since(begin).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    left.is_zero() || left < SOON.min(lifetime / 4)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_end_is_soon_in_the_last_quarter_and_in_the_last_two_weeks() {
        for (lifetime, left, is_soon) in
            [(90, 15, false), (90, 13, true), (8, 3, false), (8, 1, true), (8, 0, true), (3650, 20, false)]
        {
            let day = |days: u64| Duration::from_hours(days * 24);
            let end = UNIX_EPOCH + day(10_000);
            assert_eq!(ends_soon(end - day(lifetime), end, end - day(left)), is_soon, "{lifetime} {left}");
        }
        assert!(ends_soon(UNIX_EPOCH, UNIX_EPOCH + SOON, UNIX_EPOCH + 2 * SOON), "it has ended");
    }
}
