//! Keeps what is in memory, credentials above all, out of core dumps and out of the reach of debuggers.

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::warn;

/// Makes this process undumpable. A system that does not allow that is told about, and served all the same.
pub(super) fn against_dumps() {
    let done = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // The limit alone does not stop a `core_pattern` that pipes into a program, such as systemd's. Only Linux has that.
    #[cfg(target_os = "linux")]
    let done = done.and(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        warn!(%error, "a crash could leave credentials in a core dump");
    }
}
