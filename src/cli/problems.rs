//! Everything that is wrong with a configuration, gathered so that it is reported at once.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::options::Given;
use super::values;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// A flag, a variable, or a file and line.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What to do about it, as an instruction.
    pub fix: String,
    /// Whether it may be no problem on another machine: a file is missing here, for example.
    pub is_local: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}\n    fix: {}", self.place, self.what, self.fix)
    }
}

/// Problems found so far, and readers of options that add to them.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub(super) fn add(&mut self, place: &dyn fmt::Display, what: impl Into<String>, fix: impl Into<String>) {
        self.push(place, what.into(), fix.into(), false);
    }

    /// Notes a problem with a file or another thing of this machine.
    pub(super) fn add_local(&mut self, place: &dyn fmt::Display, what: impl Into<String>, fix: impl Into<String>) {
        self.push(place, what.into(), fix.into(), true);
    }

    fn push(&mut self, place: &dyn fmt::Display, what: String, fix: String, is_local: bool) {
        self.0.push(Problem { place: place.to_string(), what, fix, is_local });
    }

    /// The path of a file, or of a credential that systemd passes.
    pub(super) fn file(&mut self, given: &Given, fix: &str) -> Option<PathBuf> {
        let refused =
            |what: String| self.add_local(&given.place, format!("`{}`: {what}", given.text.escape_debug()), fix);
        values::credential_path(&given.text).map_err(refused).ok()
    }

    /// The value of an option; nothing if it was not given, or after noting why it cannot be used.
    pub(super) fn read<T>(
        &mut self,
        given: Option<&Given>,
        fix: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let given = given?;
        let refused = |what| self.add(&given.place, format!("`{}`: {what}", given.text.escape_debug()), fix);
        parse(&given.text).map_err(refused).ok()
    }

    /// A duration, by default `default` seconds.
    pub(super) fn duration(&mut self, given: Option<&Given>, default: u64) -> Duration {
        self.read(given, "write a number with a unit, as in `30s`, `5m` or `1h`", values::duration)
            .unwrap_or(Duration::from_secs(default))
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, given: Option<&Given>, default: u64) -> u64 {
        self.read(given, "write a number with a unit, as in `512 KiB`, `1 MiB` or `5 GiB`", values::size)
            .unwrap_or(default)
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, given: Option<&Given>, default: usize) -> usize {
        self.read(given, "write a whole number from 1", values::count).unwrap_or(default)
    }

    /// A switch.
    pub(super) fn switch(&mut self, given: Option<&Given>, default: bool) -> bool {
        self.read(given, "write `true` or `false`", values::boolean).unwrap_or(default)
    }

    /// The problems, unless there are none; those of the file by their lines, as one goes through it.
    ///
    /// # Errors
    /// The problems.
    pub(super) fn none_or_all(mut self) -> Result<(), Vec<Problem>> {
        let line = |problem: &Problem| problem.place.rsplit_once(':').and_then(|(_, line)| line.parse::<usize>().ok());
        self.0.sort_by_key(line);
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
