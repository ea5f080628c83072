//! The limits of request bodies, and the budgets that all of them share.

use std::path::Path;
use std::sync::Arc;

use super::budget::Budget;
use super::pace::Timing;

/// The most that the listener holds of one body: what it has read and not handed on (128 KiB), what it has handed on and
/// nobody has taken (32 KiB), and what is being written (as much as it had read). Bytes.
pub(super) const LISTENER_SHARE: u64 = 320 * 1024;

/// Limits and places for bodies; one for the whole process.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// A larger body is refused. Bytes.
    pub size_limit: u64,
    /// A larger body goes to disk. Bytes.
    pub memory_limit: u64,
    /// What all bodies in memory may take together; beyond it they go to disk.
    pub memory: Budget,
    /// What all bodies on their way to disk may gather in memory together; beyond it they are written in smaller pieces.
    pub gathering: Budget,
    /// What the listener may hold of bodies on their way to disk; beyond it they are refused for now. It is not asked how
    /// much it holds, so each counts with `LISTENER_SHARE`.
    pub arriving: Budget,
    /// What all bodies on disk may take together; beyond it they are refused for now.
    pub disk: Budget,
    /// Where the unlinked files live.
    pub directory: Arc<Path>,
    /// The time limits of a body.
    pub timing: Timing,
    /// Whether what would go to disk is passed on instead, where nothing has to be known of it.
    pub passes_large: bool,
}

impl BodyLimits {
    /// The length of a body that is to be passed on as it comes, rather than taken in.
    #[must_use]
    pub fn passes(&self, declared: Option<u64>) -> Option<u64> {
        let large = self.memory_limit + 1..=self.size_limit;
        declared.filter(|length| self.passes_large && large.contains(length))
    }
}
