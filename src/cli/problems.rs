//! The problems and warnings of a configuration, collected so that they are reported together.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::options::{RawValue, ValueOrigin};
use super::values;

/// The origin of a problem, which is shown as the flag, the variable, or the file and the line.
pub(super) trait ProblemOrigin: fmt::Display {
    /// The key of the value, if the place does not name it.
    fn key(&self) -> Option<&str> {
        None
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// A flag, a variable, or a file and line.
    pub origin: String,
    /// The description of the problem.
    pub text: String,
    /// The way to solve it, as an instruction.
    pub hint: String,
    /// True if it may be no problem on another machine, for example because a file is missing on this one.
    pub is_local: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}\n    hint: {}", self.origin, self.text, self.hint)
    }
}

/// The problems and warnings so far, and readers of options that add to them.
#[derive(Debug, Default)]
pub(super) struct Problems {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Adds a problem.
    pub(super) fn add(&mut self, origin: &dyn ProblemOrigin, text: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(problem(origin, text.into(), hint.into(), false));
    }

    /// Adds a problem with a file or with something else of this machine.
    pub(super) fn add_local(&mut self, origin: &dyn ProblemOrigin, text: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(problem(origin, text.into(), hint.into(), true));
    }

    /// Adds a warning, which keeps no command from its work.
    pub(super) fn warn(&mut self, origin: &dyn ProblemOrigin, text: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(problem(origin, text.into(), hint.into(), false));
    }

    /// The path of a file, or of a credential that systemd passes.
    pub(super) fn file(&mut self, given: &RawValue, hint: &str) -> Option<PathBuf> {
        let rejected = |text: String| self.add_local(&given.origin, with_value(given, &text), hint);
        values::credential_path(&given.text).map_err(rejected).ok()
    }

    /// The value of an option. Returns nothing if the option is not set, or after adding a problem with its value.
    pub(super) fn read<T>(
        &mut self,
        given: Option<&RawValue>,
        hint: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let given = given?;
        let rejected = |text: String| self.add(&given.origin, with_value(given, &text), hint);
        parse(&given.text).map_err(rejected).ok()
    }

    /// A duration, by default `default` seconds.
    pub(super) fn duration(&mut self, given: Option<&RawValue>, default: u64) -> Duration {
        self.read(given, "write a number with a unit, as in `30s`, `5m` or `1h`", values::duration)
            .unwrap_or(Duration::from_secs(default))
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, given: Option<&RawValue>, default: u64) -> u64 {
        self.read(given, "write a number with a unit, as in `512 KiB`, `1 MiB` or `5 GiB`", values::size)
            .unwrap_or(default)
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, given: Option<&RawValue>, default: usize) -> usize {
        self.read(given, "write a whole number from 1", values::count).unwrap_or(default)
    }

    /// A switch.
    pub(super) fn switch(&mut self, given: Option<&RawValue>, default: bool) -> bool {
        self.read(given, "write `true` or `false`", values::boolean).unwrap_or(default)
    }

    /// The warnings, if there is no problem.
    ///
    /// # Errors
    /// The problems; those of the file in the order of its lines.
    pub(super) fn none_or_all(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        let line = |problem: &Problem| problem.origin.rsplit_once(':').and_then(|(_, line)| line.parse::<usize>().ok());
        self.problems.sort_by_key(line);
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.problems) }
    }
}

/// The error of a function that has already added a problem.
pub(super) struct Reported;

/// The text with the value that it is about, unless it quotes that value, or a part of it, already.
fn with_value(given: &RawValue, text: &str) -> String {
    let value = given.text.escape_debug();
    if text.contains(&format!("`{value}`")) {
        text.to_owned()
    } else if text.starts_with("must ") {
        format!("`{value}` {text}")
    } else if text.starts_with("not ") || text.starts_with("neither ") {
        format!("`{value}` is {text}")
    } else {
        format!("`{value}`: {text}")
    }
}

fn problem(origin: &dyn ProblemOrigin, text: String, hint: String, is_local: bool) -> Problem {
    let text = match origin.key() {
        Some(key) => format!("{key}: {text}"),
        None => text,
    };
    Problem { origin: origin.to_string(), text, hint, is_local }
}

impl ProblemOrigin for ValueOrigin {
    fn key(&self) -> Option<&str> {
        if let Self::Key(_, _, key) = self { Some(key) } else { None }
    }
}

impl ProblemOrigin for &str {}
impl ProblemOrigin for String {}
impl ProblemOrigin for std::path::Display<'_> {}
