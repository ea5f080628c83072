//! A program that the sandbox started and will stop, with everything that program started.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The time for a graceful shutdown, after which a program is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a program's log that are shown when it fails.
const TAIL_LINES: usize = 15;

/// A running program in a process group of its own, so that Ctrl-C reaches only the sandbox, which then stops the program
/// gracefully, children included.
pub(super) struct ManagedProcess {
    name: String,
    child: Child,
    group: Option<Pid>,
    log: PathBuf,
}

impl ManagedProcess {
    /// Starts a program whose output goes to the file `log`.
    pub(super) fn start(name: &str, mut command: Command, log: PathBuf) -> io::Result<Self> {
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { name: name.to_owned(), child, group, log })
    }

    /// Returns the name of the program in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the last lines of its output.
    pub(super) fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits until the program ends by itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the program with SIGTERM, and kills what remains of its group.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let _ = timeout(PATIENCE, self.child.wait()).await;
        self.signal(Signal::KILL);
        let _ = self.child.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // This fails if the group is empty, which is the goal.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Returns the first executable file of this name in the directories of `path`, a `PATH` variable.
pub(super) fn find(path: &OsStr, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|file| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}
