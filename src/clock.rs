//! The one place that asks what time it is.

use std::time::SystemTime;

/// The system's time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
