//! The limits of request bodies, and the budgets that all of them share.

use std::path::Path;
use std::sync::Arc;

use super::budget::Budget;
use super::pace::Timing;

/// The most that the listener holds of one body: bytes that were read and not handed over (128 KiB), bytes that were handed
/// over and not taken (32 KiB), and bytes that are being written (as many as were read). Bytes.
pub(super) const LISTENER_SHARE: u64 = 320 * 1024;

/// The limits of request bodies, shared by the whole process.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// A larger body is rejected. Bytes.
    pub size_limit: u64,
    /// A larger body goes to disk. Bytes.
    pub memory_limit: u64,
    /// The budget of all bodies in memory; beyond it bodies go to disk.
    pub memory: Budget,
    /// The memory in which bodies gather on their way to disk; beyond it they are written in smaller pieces.
    pub gathering: Budget,
    /// The memory that the listener may hold of bodies on their way to disk; beyond it bodies are rejected for now. How much it
    /// really holds is unknown, so each body counts with `LISTENER_SHARE`.
    pub arriving: Budget,
    /// The budget of all bodies on disk; beyond it bodies are rejected for now.
    pub disk: Budget,
    /// The directory of the unlinked files.
    pub directory: Arc<Path>,
    /// The time limits of a body.
    pub timing: Timing,
    /// True if large bodies are streamed instead of buffered on disk, where nothing has to be known of them.
    pub streams_large: bool,
}

impl BodyLimits {
    /// Returns the length of a body that is streamed without a signature rather than buffered.
    #[must_use]
    pub fn streamed_length(&self, declared: Option<u64>) -> Option<u64> {
        self.large(declared).filter(|_| self.streams_large)
    }

    /// Returns the length of a body that the memory for one body does not hold.
    #[must_use]
    pub fn large(&self, declared: Option<u64>) -> Option<u64> {
        declared.filter(|length| (self.memory_limit + 1..=self.size_limit).contains(length))
    }
}

/// Returns limits that a test reaches soon.
#[cfg(test)]
pub(super) fn small(directory: &Path) -> BodyLimits {
    use std::time::Duration;

    use super::budget::BudgetKind;

    BodyLimits {
        size_limit: 1_000_000,
        memory_limit: 1000,
        memory: Budget::new(BudgetKind::Memory, 1500),
        arriving: Budget::new(BudgetKind::Arriving, 2 * LISTENER_SHARE),
        gathering: Budget::new(BudgetKind::Gathering, 300_000),
        disk: Budget::new(BudgetKind::Disk, 800_000),
        directory: directory.into(),
        timing: Timing { idle_timeout: Duration::from_millis(50), total: Duration::from_secs(60) },
        streams_large: false,
    }
}
