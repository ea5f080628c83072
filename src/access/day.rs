//! A day, and the day on which a token was last used, which requests note without a lock.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECONDS: u64 = 86_400;

/// A day after 1970-01-01, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(u32);

impl Day {
    /// Returns the day of a time.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self(u32::try_from(seconds / SECONDS).unwrap_or(u32::MAX))
    }

    /// Reads a day as in `2027-01-31`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()?;
        (text.len() == 10).then(|| Self::of(time))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * SECONDS);
        let text = humantime::format_rfc3339_seconds(time).to_string();
        formatter.write_str(text.split('T').next().unwrap_or_default())
    }
}

/// The day of the last use. Zero stands for none.
#[derive(Debug)]
pub struct LastUse(AtomicU32);

impl LastUse {
    /// Begins with this day.
    #[must_use]
    pub fn new(day: Option<Day>) -> Self {
        Self(AtomicU32::new(day.map_or(0, |day| day.0)))
    }

    /// Returns the day, if the token has been used.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            day => Some(Day(day)),
        }
    }

    /// Notes a use. Only the first one of a day writes, because a write would slow down the other processors.
    pub fn note(&self, day: Day) {
        if self.0.load(Ordering::Relaxed) < day.0 {
            self.0.fetch_max(day.0, Ordering::Relaxed);
        }
    }
}

impl PartialEq for LastUse {
    fn eq(&self, other: &Self) -> bool {
        self.day() == other.day()
    }
}

impl Eq for LastUse {}

impl Clone for LastUse {
    fn clone(&self) -> Self {
        Self::new(self.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_people_write_them() {
        let time = humantime::parse_rfc3339("2027-01-31T23:59:59Z").expect("a time");
        assert_eq!(Day::of(time).to_string(), "2027-01-31");
        assert_eq!(Day::parse("2027-01-31"), Some(Day::of(time)));
        for text in ["", "2027-01-32", "2027-1-31", "2027-01-31T00:00:00Z", "today", "12027-01-31"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_use_never_goes_back() {
        let used = LastUse::new(None);
        assert_eq!(used.day(), None);
        for (noted, expected) in [(5, 5), (7, 7), (6, 7)] {
            used.note(Day(noted));
            assert_eq!(used.day(), Some(Day(expected)));
        }
        assert_eq!(used.clone().day(), used.day());
    }
}
