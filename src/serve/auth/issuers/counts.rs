//! The results of verifications, counted for metrics. The labels are known from the start.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::jwt::JwtError;
use crate::serve::auth::issuers::rejection::JwtRejectionReason;

/// The results other than a rejected token.
const OTHERS: [&str; 4] = ["accepted", "cached", "no-grant", "no-name"];
const COUNT: usize = OTHERS.len() + JwtError::ALL.len();

/// The results of an issuer's tokens.
#[derive(Debug)]
pub(crate) struct VerificationCounts([AtomicU64; COUNT]);

impl Default for VerificationCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNT])
    }
}

impl VerificationCounts {
    /// Counts the result of a verification.
    pub(crate) fn count<T>(&self, result: &Result<T, JwtRejectionReason>) {
        self.add(match result {
            Ok(_) => 0,
            Err(JwtRejectionReason::NoGrant) => 2,
            Err(JwtRejectionReason::NoName) => 3,
            Err(JwtRejectionReason::Token(why)) => OTHERS.len() + *why as usize,
        });
    }

    /// Counts a token that was verified before.
    pub(crate) fn count_cached(&self) {
        self.add(1);
    }

    fn add(&self, at: usize) {
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
            counts.count::<()>(&Err(why.into()));
            assert_eq!(counts.all().collect::<Vec<_>>(), [(why.as_str(), 1)]);
        }
        let mut labels = JwtError::LABELS.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), JwtError::ALL.len());
    }
}
