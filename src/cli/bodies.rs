//! The settings of request bodies.

use std::path::Path;

use super::options::{BodyOptions, ValueOrigin};
use super::problems::Problems;
use crate::http::body::{BodyLimits, Budget, BudgetKind, Timing};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The memory, in bytes, in which a hundred uploads gather pieces before they write; with more uploads the pieces are smaller.
const GATHERING: u64 = 32 * MIB;
/// The memory, in bytes, that the listener may hold for large uploads: enough for eight hundred at once.
const ARRIVING: u64 = 256 * MIB;
/// Seconds, enough for the largest body, 5 GiB, over an uplink of 6 Mbit/s.
const BODY_TIMEOUT_S: u64 = 2 * 3600;
/// A directory on disk by the Filesystem Hierarchy Standard, unlike `/tmp`, which is often memory.
const DEFAULT_SPOOL: &str = "/var/tmp";

/// The limits of request bodies.
pub(super) fn resolve(options: &BodyOptions, problems: &mut Problems) -> BodyLimits {
    let given = options.spool_directory.as_ref();
    let directory = given.map_or(DEFAULT_SPOOL, |given| given.text.as_str());
    if let Err(error) = tempfile::tempfile_in(directory) {
        problems.add_local(
            ValueOrigin::of(given),
            format!("`{directory}` cannot hold large request bodies: {error}"),
            "set `spool-directory` to a writable directory on a disk",
        );
    }
    BodyLimits {
        size_limit: problems.size(options.body_size_limit.as_ref(), 5 * GIB),
        memory_limit: problems.size(options.body_memory_limit.as_ref(), MIB),
        memory: Budget::new(BudgetKind::Memory, problems.size(options.body_memory_budget.as_ref(), 64 * MIB)),
        arriving: Budget::new(BudgetKind::Arriving, ARRIVING),
        gathering: Budget::new(BudgetKind::Gathering, GATHERING),
        disk: Budget::new(BudgetKind::Disk, problems.size(options.body_disk_budget.as_ref(), 10 * GIB)),
        directory: Path::new(directory).into(),
        timing: Timing {
            idle_timeout: problems.duration(options.body_idle_timeout.as_ref(), 60),
            total: problems.duration(options.body_timeout.as_ref(), BODY_TIMEOUT_S),
        },
        streams_large: problems.switch(options.unsigned_payload.as_ref(), false),
    }
}

/// The largest body, in bytes, of a request that is not for artifacts.
pub(super) fn api_size_limit(options: &BodyOptions, problems: &mut Problems) -> u64 {
    problems.size(options.api_body_size_limit.as_ref(), 100 * MIB)
}
