//! Lines for people, and lines that were asked for.

use std::io::Write as _;

/// What is happening; to standard error.
#[expect(clippy::print_stderr, reason = "what is happening is for people")]
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}

/// What was asked for; to standard output. A closed pipe is the reader's decision.
pub(super) fn show(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
