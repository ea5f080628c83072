//! Opens a page with this machine's program for opening pages.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// A program that passes the URL to a browser exits within this time. One that is the browser itself keeps running.
const OPENING_LIMIT: Duration = Duration::from_secs(5);
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// True if a browser could show a page to the person who runs this command.
#[must_use]
pub(super) fn has_screen() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_remote = is_set("SSH_CONNECTION") && !is_set("DISPLAY");
    !is_remote && (cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
}

/// Opens a URL. Other users can see it in the list of processes for a moment.
///
/// # Errors
/// The reason why no browser was found.
pub(super) async fn open(url: &str) -> Result<(), String> {
    // SECURITY: the URL is one argument of a program, so no shell interprets it. The program's output may contain the URL.
    let started =
        Command::new(OPENER).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = started.map_err(|error| format!("cannot start `{OPENER}`: {error}"))?;
    match timeout(OPENING_LIMIT, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(format!("`{OPENER}` failed ({status})")),
        Ok(Err(error)) => Err(format!("cannot wait for `{OPENER}`: {error}")),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
