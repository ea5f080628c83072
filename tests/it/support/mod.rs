//! What the black-box tests are made of.

pub mod appliance;
pub mod authority;
pub mod caller;
pub mod http2;
pub mod python;
pub mod upstream;

use std::time::{Duration, Instant};

/// Longer than anything under test takes, even on a busy machine; a wait that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds` does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
