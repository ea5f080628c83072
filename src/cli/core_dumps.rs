//! Keeps the contents of memory, and credentials above all, out of core dumps and away from debuggers.

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::warn;

/// Makes this process undumpable. A system that does not allow this gets a warning, and the command goes on.
pub(super) fn disable() {
    let done = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // The limit alone does not stop a `core_pattern` that pipes into a program, such as systemd's. Only Linux has those.
    #[cfg(target_os = "linux")]
    let done = done.and(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        warn!(%error, "a crash could leave credentials in a core dump");
    }
}
