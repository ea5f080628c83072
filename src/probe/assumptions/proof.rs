//! The result of testing one assumption, with its evidence.

use std::time::Duration;

use super::catalog::Assumption;

/// The result of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofVerdict {
    /// The assumption is true here.
    Holds,
    /// The assumption is false here.
    DoesNotHold,
    /// The test did not run, or shows nothing.
    NotTested,
}

/// The result of a test, and its evidence or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The result.
    pub verdict: ProofVerdict,
    /// The evidence: statuses and short messages.
    pub evidence: String,
}

/// A tested assumption.
#[derive(Clone, Debug)]
pub struct ProvenAssumption {
    /// The assumption.
    pub assumption: &'static Assumption,
    /// The result and its evidence.
    pub proof: Proof,
    /// The duration of the test.
    pub took: Duration,
}

/// The reason why a test shows nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoProof {
    /// The operator has interrupted the run.
    Stopped,
    /// The service did not answer.
    NoAnswer(String),
    /// Something else is missing.
    Because(String),
}

impl Proof {
    pub(super) fn holds(evidence: impl Into<String>) -> Self {
        Self { verdict: ProofVerdict::Holds, evidence: evidence.into() }
    }

    pub(super) fn fails(evidence: impl Into<String>) -> Self {
        Self { verdict: ProofVerdict::DoesNotHold, evidence: evidence.into() }
    }

    pub(super) fn untested(reason: impl Into<String>) -> Self {
        Self { verdict: ProofVerdict::NotTested, evidence: reason.into() }
    }

    /// True or false by a condition.
    pub(super) fn of(is_true: bool, evidence: impl Into<String>) -> Self {
        if is_true { Self::holds(evidence) } else { Self::fails(evidence) }
    }
}

impl NoProof {
    /// A reason in words.
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }

    /// The reason as a clause.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Stopped => "the run was interrupted".to_owned(),
            Self::NoAnswer(why) => format!("there was no answer: {why}"),
            Self::Because(why) => why,
        }
    }
}
