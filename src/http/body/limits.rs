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
    pub passes_large: bool,
}

impl BodyLimits {
    /// The length of a body that is to be streamed rather than buffered.
    #[must_use]
    pub fn passes(&self, declared: Option<u64>) -> Option<u64> {
        let large = self.memory_limit + 1..=self.size_limit;
        declared.filter(|length| self.passes_large && large.contains(length))
    }
}
