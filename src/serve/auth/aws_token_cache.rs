//! The AWS identity tokens that AWS has confirmed or rejected, so that one token costs one call of STS.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

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
    /// The requests that STS is being asked about.
    calls: HashMap<Fingerprint, Arc<Notify>>,
}

/// A token that AWS has confirmed, and for which there is a grant.
struct Confirmed {
    caller: Caller,
    expires: SystemTime,
    fingerprints: [Fingerprint; 2],
}

/// The right to ask STS about a token, or the end of another request's call.
pub(crate) enum Turn {
    /// The caller asks STS, and has to call [`AwsTokenCache::end`].
    Ask,
    /// Another request asks about the same token.
    Wait(OwnedNotified),
    /// The cache knows the token.
    Known(Result<Caller, AwsTokenError>),
}

impl AwsTokenCache {
    /// Returns the caller behind a token that was confirmed before.
    pub(crate) fn confirmed(&self, fingerprint: &Fingerprint, now: SystemTime) -> Option<Caller> {
        self.confirmed.get(fingerprint).filter(|known| known.expires > now).map(|known| known.caller.clone())
    }

    /// Returns what to do about a request to STS.
    pub(crate) fn turn(&mut self, request: &Fingerprint, now: SystemTime) -> Turn {
        if let Some(caller) = self.confirmed(request, now) {
            return Turn::Known(Ok(caller));
        }
        if let Some((error, _)) = self.rejected.get(request).filter(|(_, until)| *until > now) {
            return Turn::Known(Err(error.clone()));
        }
        if let Some(call) = self.calls.get(request) {
            return Turn::Wait(Arc::clone(call).notified_owned());
        }
        self.calls.insert(*request, Arc::default());
        Turn::Ask
    }

    /// Ends the call about a request. Requests that wait for it look again.
    pub(crate) fn end(&mut self, request: &Fingerprint) {
        if let Some(call) = self.calls.remove(request) {
            call.notify_waiters();
        }
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
            means: AuthMethod::Aws,
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

    #[tokio::test]
    async fn one_request_asks_and_the_others_wait_for_it() {
        let mut cache = AwsTokenCache::default();
        let request = number(1, 1);
        assert!(matches!(cache.turn(&request, NOW), Turn::Ask));
        let Turn::Wait(end) = cache.turn(&request, NOW) else { panic!("one call at a time") };
        cache.reject(request, AwsTokenError::Expired, NOW);
        cache.end(&request);
        end.await;
        assert!(matches!(cache.turn(&request, NOW), Turn::Known(Err(AwsTokenError::Expired))));
        assert!(matches!(cache.turn(&request, NOW + REJECTED_FOR), Turn::Ask));
    }
}
