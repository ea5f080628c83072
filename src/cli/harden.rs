//! Keeps what is in memory, credentials above all, out of core dumps and out of the reach of debuggers.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::warn;

/// Makes this process undumpable. A system that does not allow that is told about, and served all the same.
pub(super) fn against_dumps() {
    let limit = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // The limit alone does not stop a `core_pattern` that pipes into a program, such as systemd's.
    let behavior = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limit.and(behavior) {
        warn!(%error, "a crash could leave credentials in a core dump");
    }
}
