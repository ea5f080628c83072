//! Counters of the attempts to obtain credentials, by outcome.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::labelled::labelled;

labelled! {
    /// The outcome of one attempt to obtain credentials.
    pub enum CredentialOutcome {
        /// Credentials were obtained.
        Obtained = "obtained",
        /// The default chain found nothing.
        NoneFound = "none-found",
        /// STS may not or will not let this identity assume the role.
        Denied = "denied",
        /// STS asks to slow down.
        Throttled = "throttled",
        /// STS refused for another reason.
        Refused = "refused",
        /// STS did not answer.
        Unreachable = "unreachable",
        /// The credentials that came cannot be used.
        Unusable = "unusable",
    }
}

impl CredentialOutcome {
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
    }
}
