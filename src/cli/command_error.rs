//! The error that ends a command: its text and its exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::output::say;
use super::problems::Problem;
use crate::counted::counted;

/// The kinds of errors that a script or a service manager may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExitClass {
    /// The command failed; running it again may help.
    Failed,
    /// The command line is wrong. clap exits with the same code.
    Usage,
    /// The configuration has to change first (`EX_CONFIG` of sysexits).
    Configuration,
    /// The command succeeded, and an assumption about AWS is false.
    #[cfg(feature = "assumptions")]
    Disproved,
    /// There are changes, and the exit code was asked to say so.
    #[cfg(feature = "deploy")]
    Changes,
}

impl ExitClass {
    #[must_use]
    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self::Failed => ExitCode::from(1),
            Self::Usage => ExitCode::from(2),
            Self::Configuration => ExitCode::from(78),
            #[cfg(feature = "assumptions")]
            Self::Disproved => ExitCode::from(3),
            #[cfg(feature = "deploy")]
            Self::Changes => ExitCode::from(2),
        }
    }
}

/// An error, ready to be printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandError {
    /// The class, which decides the exit code.
    pub class: ExitClass,
    text: String,
}

impl CommandError {
    /// An error with its causes, and a hint how to solve it.
    #[must_use]
    pub(super) fn new(class: ExitClass, error: &(dyn std::error::Error + 'static), hint: Option<&str>) -> Self {
        let mut text = error.to_string();
        for cause in crate::error_chain::beneath(error) {
            let _ = write!(text, "\n  caused by: {cause}");
        }
        Self::of(class, &text, hint)
    }

    /// An error by its text, and a hint how to solve it.
    #[must_use]
    pub(super) fn of(class: ExitClass, text: &str, hint: Option<&str>) -> Self {
        let hint = hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        Self { class, text: format!("error: {text}{hint}") }
    }

    /// An error that the command has already reported.
    #[must_use]
    pub(super) fn reported(class: ExitClass) -> Self {
        Self { class, text: String::new() }
    }

    /// The problems of a configuration.
    #[must_use]
    pub(super) fn configuration(problems: &[Problem]) -> Self {
        let mut text = format!("error: {} in the configuration", counted(problems.len(), "problem"));
        for problem in problems {
            let _ = write!(text, "\n\n  {problem}");
        }
        Self { class: ExitClass::Configuration, text }
    }

    /// Prints the error to standard error.
    pub(super) fn print(&self) {
        if !self.text.is_empty() {
            say(&self.text);
        }
    }
}
