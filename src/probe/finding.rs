//! The finding of one probe.

use std::time::Duration;

/// The outcome of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// All is well.
    Ok,
    /// The step succeeded, but a person should look at the result.
    Warning,
    /// The step failed.
    Failure,
    /// The probe did not run, because an earlier one failed or it is not configured.
    Skipped,
}

/// The finding of a probe.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The name of the check, one word that stays the same.
    pub check: &'static str,
    /// The object of the check: a target, a host, a file; empty for the appliance itself.
    pub subject: String,
    /// The outcome.
    pub outcome: ProbeOutcome,
    /// The finding, as a clause.
    pub text: String,
    /// An instruction that removes the cause.
    pub fix: Option<String>,
    /// The duration of the probe.
    pub took: Duration,
}

impl Finding {
    /// Makes a finding that all is well.
    #[must_use]
    pub fn ok(check: &'static str, subject: &str, text: impl Into<String>) -> Self {
        Self::new(check, subject, ProbeOutcome::Ok, text.into(), None)
    }

    /// Makes a finding at which a person should look.
    #[must_use]
    pub fn warning(check: &'static str, subject: &str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, subject, ProbeOutcome::Warning, text.into(), Some(fix.into()))
    }

    /// Makes a finding that something does not work.
    #[must_use]
    pub fn failure(check: &'static str, subject: &str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, subject, ProbeOutcome::Failure, text.into(), Some(fix.into()))
    }

    /// Makes a finding that a probe did not run.
    #[must_use]
    pub fn skipped(check: &'static str, subject: &str, text: impl Into<String>) -> Self {
        Self::new(check, subject, ProbeOutcome::Skipped, text.into(), None)
    }

    fn new(check: &'static str, subject: &str, outcome: ProbeOutcome, text: String, fix: Option<String>) -> Self {
        Self { check, subject: subject.to_owned(), outcome, text, fix, took: Duration::ZERO }
    }
}
