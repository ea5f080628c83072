//! How a command ends when it does not succeed: what is printed, and the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::output::say;
use super::problems::Problem;

/// The kinds of failure that a script or a service manager may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It could not be done; trying again may help.
    Failed,
    /// The configuration has to change first (`EX_CONFIG` of sysexits).
    Configuration,
    /// Nothing failed: there are changes.
    #[cfg(feature = "deploy")]
    Changes,
}

impl Class {
    /// The exit code; 2, for wrong usage, is clap's.
    #[must_use]
    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self::Failed => ExitCode::from(1),
            Self::Configuration => ExitCode::from(78),
            #[cfg(feature = "deploy")]
            Self::Changes => ExitCode::from(2),
        }
    }
}

/// A failure, ready to be printed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Decides the exit code.
    pub class: Class,
    text: String,
}

impl Failure {
    /// Something that failed, with its causes and what to do about it.
    #[must_use]
    pub(super) fn new(class: Class, error: &(dyn std::error::Error + 'static), hint: Option<&str>) -> Self {
        let mut text = format!("error: {error}");
        for cause in crate::error_chain::beneath(error) {
            let _ = write!(text, "\n  caused by: {cause}");
        }
        if let Some(hint) = hint {
            let _ = write!(text, "\n  hint: {hint}");
        }
        Self { class, text }
    }

    /// Something that failed, in words, and what to do about it.
    #[must_use]
    pub(super) fn said(class: Class, what: &str, hint: Option<&str>) -> Self {
        let hint = hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        Self { class, text: format!("error: {what}{hint}") }
    }

    /// Something that failed, of which all has been said.
    #[must_use]
    pub(super) fn silent(class: Class) -> Self {
        Self { class, text: String::new() }
    }

    /// A configuration that cannot be used.
    #[must_use]
    pub(super) fn configuration(problems: &[Problem]) -> Self {
        let count = problems.len();
        let mut text = format!("error: {count} problem{} in the configuration", if count == 1 { "" } else { "s" });
        for problem in problems {
            let _ = write!(text, "\n\n  {problem}");
        }
        Self { class: Class::Configuration, text }
    }

    /// Prints the failure to standard error.
    pub(super) fn print(&self) {
        if !self.text.is_empty() {
            say(&self.text);
        }
    }
}
