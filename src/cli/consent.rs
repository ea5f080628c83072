//! The consent of the person at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::output::ask;

/// Asks a question that is answered with yes or no. Returns nothing if standard input is not a terminal.
pub(super) fn agrees(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() {
        return None;
    }
    ask(&format!("{question} [y/N]"));
    Some(matches!(answer().as_str(), "y" | "yes"))
}

/// The line that the person types.
pub(super) fn answer() -> String {
    let mut line = String::new();
    drop(io::stdin().lock().read_line(&mut line));
    line.trim().to_owned()
}
