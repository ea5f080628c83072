//! The AWS identity tokens that AWS has confirmed or rejected, so that one token costs one call of STS.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::access::aws_token::{AwsTokenError, Fingerprint};
use crate::access::caller::Caller;

/// The number of confirmed tokens that are remembered, each with two fingerprints and a caller: 6 MiB.
const CONFIRMED_LIMIT: usize = 10_000;
/// The number of rejected tokens that are remembered.
const REJECTED_LIMIT: usize = 1000;
/// The time for which a rejection is remembered. A new access key is known to all of AWS after some seconds.
const REJECTED_FOR: Duration = Duration::from_secs(10);

/// The results that are known about tokens.
#[derive(Default)]
pub(crate) struct AwsTokenCache {
    /// The confirmed tokens, by the fingerprints of the token as it was first written, and of its request.
    confirmed: HashMap<Fingerprint, Arc<Confirmed>>,
    /// The rejected tokens, by the fingerprint of the request. SECURITY: these cannot displace confirmed tokens.
    rejected: HashMap<Fingerprint, (AwsTokenError, SystemTime)>,
}

/// A token that AWS has confirmed, and for which there is a grant.
struct Confirmed {
    caller: Caller,
    expires: SystemTime,
    fingerprints: [Fingerprint; 2],
}

impl AwsTokenCache {
    /// Returns the caller behind a token that was confirmed before.
    pub(crate) fn confirmed(&self, fingerprint: &Fingerprint, now: SystemTime) -> Option<Caller> {
        self.confirmed.get(fingerprint).filter(|known| known.expires > now).map(|known| known.caller.clone())
    }

    /// Returns the result that is known about a request to STS.
    pub(crate) fn result(&self, request: &Fingerprint, now: SystemTime) -> Option<Result<Caller, AwsTokenError>> {
        let rejected = || self.rejected.get(request).filter(|(_, until)| *until > now);
        self.confirmed(request, now).map(Ok).or_else(|| rejected().map(|(error, _)| Err(error.clone())))
    }

    /// Remembers a confirmed token until it expires.
    pub(crate) fn confirm(
        &mut self,
        fingerprints: [Fingerprint; 2],
        caller: Caller,
        expires: SystemTime,
        now: SystemTime,
    ) {
        if self.confirmed.len() >= 2 * CONFIRMED_LIMIT {
            self.confirmed.retain(|_, known| known.expires > now);
        }
        if self.confirmed.len() >= 2 * CONFIRMED_LIMIT
            && let Some(first) = self.confirmed.values().min_by_key(|known| known.expires).cloned()
        {
            for fingerprint in first.fingerprints {
                self.confirmed.remove(&fingerprint);
            }
        }
        let known = Arc::new(Confirmed { caller, expires, fingerprints });
        for fingerprint in HashSet::from(fingerprints) {
            self.confirmed.insert(fingerprint, Arc::clone(&known));
        }
    }

    /// Remembers a rejected request for a moment.
    pub(crate) fn reject(&mut self, request: Fingerprint, error: AwsTokenError, now: SystemTime) {
        if self.rejected.len() >= REJECTED_LIMIT {
            self.rejected.clear();
        }
        self.rejected.insert(request, (error, now + REJECTED_FOR));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::{AuthMethod, Role, Targets};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn caller(name: &str) -> Caller {
        Caller {
            name: name.to_owned(),
            role: Role::Read,
            targets: Targets::All,
            auth_method: AuthMethod::Aws,
            issuer: None,
            expires: None,
        }
    }

    fn number(of: usize, kind: u8) -> Fingerprint {
        let mut fingerprint = [kind; 32];
        fingerprint[..8].copy_from_slice(&of.to_be_bytes());
        fingerprint
    }

    #[test]
    fn a_token_is_known_by_both_fingerprints_until_it_expires() {
        let mut cache = AwsTokenCache::default();
        let later = NOW + Duration::from_secs(60);
        cache.confirm([number(1, 0), number(1, 1)], caller("a"), later, NOW);
        for fingerprint in [number(1, 0), number(1, 1)] {
            assert_eq!(cache.confirmed(&fingerprint, NOW), Some(caller("a")));
            assert_eq!(cache.confirmed(&fingerprint, later), None);
        }
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_ends_first() {
        let mut cache = AwsTokenCache::default();
        let ends = |of: usize| NOW + Duration::from_secs(60 + of as u64);
        for of in 0..=CONFIRMED_LIMIT {
            cache.confirm([number(of, 0), number(of, 1)], caller("a"), ends(of), NOW);
        }
        assert_eq!(cache.confirmed.len(), 2 * CONFIRMED_LIMIT);
        assert_eq!(cache.confirmed(&number(0, 0), NOW), None);
        assert!(cache.confirmed(&number(1, 1), NOW).is_some());
        for of in 0..3 * REJECTED_LIMIT {
            cache.reject(number(of, 2), AwsTokenError::Expired, NOW);
        }
        assert!(cache.rejected.len() <= REJECTED_LIMIT);
        assert_eq!(cache.confirmed.len(), 2 * CONFIRMED_LIMIT, "rejections displace nothing");
        cache.confirm([number(0, 0), number(0, 1)], caller("b"), ends(90_000), ends(80_000));
        assert_eq!(cache.confirmed.len(), 2, "expired tokens are forgotten first");
    }

    #[test]
    fn a_rejection_is_known_for_a_moment() {
        let mut cache = AwsTokenCache::default();
        let request = number(1, 1);
        assert_eq!(cache.result(&request, NOW), None);
        cache.reject(request, AwsTokenError::Expired, NOW);
        assert_eq!(cache.result(&request, NOW), Some(Err(AwsTokenError::Expired)));
        assert_eq!(cache.result(&request, NOW + REJECTED_FOR), None);
    }
}
