//! Counters of the attempts to obtain credentials, by outcome.

use std::sync::atomic::{AtomicU64, Ordering};

/// The outcome of one attempt to obtain credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialOutcome {
    /// Credentials were obtained.
    Obtained,
    /// The default chain found nothing.
    NoneFound,
    /// STS may not or will not let this identity assume the role.
    Denied,
    /// STS asks to slow down.
    Throttled,
    /// STS refused for another reason.
    Refused,
    /// STS did not answer.
    Unreachable,
    /// The credentials that came cannot be used.
    Unusable,
}

impl CredentialOutcome {
    /// All, in the order of their indices.
    pub const ALL: [Self; 7] = [
        Self::Obtained,
        Self::NoneFound,
        Self::Denied,
        Self::Throttled,
        Self::Refused,
        Self::Unreachable,
        Self::Unusable,
    ];

    /// A word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Obtained => "obtained",
            Self::NoneFound => "none-found",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unusable => "unusable",
        }
    }

    /// The outcome that an error code of STS stands for; no code means that STS did not answer.
    #[must_use]
    pub(super) fn of_code(code: Option<&str>) -> Self {
        match code {
            Some("AccessDenied") => Self::Denied,
            Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded") => Self::Throttled,
            Some(_) => Self::Refused,
            None => Self::Unreachable,
        }
    }
}

/// Counts of one identity.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The counts of the default chain, and those of AssumeRole.
    counts: [[AtomicU64; CredentialOutcome::ALL.len()]; 2],
}

impl Outcomes {
    /// Counts an attempt; `is_role` says that a role was assumed, or was to be.
    pub(super) fn count(&self, is_role: bool, outcome: CredentialOutcome) {
        self.counts[usize::from(is_role)][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, with where credentials were asked for.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, CredentialOutcome, u64)> {
        ["chain", "assume-role"].into_iter().zip(&self.counts).flat_map(|(source, counts)| {
            CredentialOutcome::ALL
                .into_iter()
                .zip(counts)
                .map(move |(outcome, count)| (source, outcome, count.load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_where_they_belong() {
        let outcomes = Outcomes::default();
        outcomes.count(true, CredentialOutcome::of_code(Some("AccessDenied")));
        outcomes.count(true, CredentialOutcome::of_code(None));
        outcomes.count(true, CredentialOutcome::of_code(None));
        outcomes.count(false, CredentialOutcome::Obtained);
        let some: Vec<_> = outcomes.all().filter(|(.., count)| *count > 0).collect();
        assert_eq!(
            some,
            [
                ("chain", CredentialOutcome::Obtained, 1),
                ("assume-role", CredentialOutcome::Denied, 1),
                ("assume-role", CredentialOutcome::Unreachable, 2)
            ]
        );
        for (index, outcome) in CredentialOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
