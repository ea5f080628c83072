//! Numbers as the document of the status page writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Returns milliseconds as a number with two decimals.
pub(super) fn rounded(milliseconds: Option<f64>) -> Value {
    milliseconds.map_or(Value::Null, |value| ((value * 100.0).round() / 100.0).into())
}

/// Returns microseconds as milliseconds.
pub(super) fn milliseconds(micros: u64) -> Value {
    rounded(Some(micros as f64 / 1000.0))
}

/// Returns the seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}
