//! The results of verifications, counted for metrics. The labels are known from the start.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::jwt::JwtError;

/// The results other than a rejected token.
const OTHERS: [&str; 4] = ["accepted", "cached", "no-grant", "no-name"];
const COUNT: usize = OTHERS.len() + JwtError::ALL.len();

/// The result of one verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerificationResult {
    /// The signature was verified, and a grant matches.
    Accepted,
    /// The token was verified before.
    Cached,
    /// No grant matches.
    NoGrant,
    /// The claim that names the caller is missing.
    NoName,
    /// The token is not valid.
    Rejected(JwtError),
}

/// The results of an issuer's tokens.
#[derive(Debug)]
pub(crate) struct VerificationCounts([AtomicU64; COUNT]);

impl Default for VerificationCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNT])
    }
}

impl VerificationCounts {
    /// Counts a result.
    pub(crate) fn count(&self, result: VerificationResult) {
        let at = match result {
            VerificationResult::Accepted => 0,
            VerificationResult::Cached => 1,
            VerificationResult::NoGrant => 2,
            VerificationResult::NoName => 3,
            VerificationResult::Rejected(why) => OTHERS.len() + why as usize,
        };
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns each result that has occurred, with its number.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = OTHERS.into_iter().chain(JwtError::LABELS);
        labels.zip(&self.0).map(|(label, count)| (label, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_label_of_its_own() {
        for why in JwtError::ALL {
            let counts = VerificationCounts::default();
            counts.count(VerificationResult::Rejected(why));
            assert_eq!(counts.all().collect::<Vec<_>>(), [(why.as_str(), 1)]);
        }
        let mut labels = JwtError::LABELS.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), JwtError::ALL.len());
    }
}
