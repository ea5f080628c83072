//! The tokens that were verified: a token that is known costs a hash instead of a verification with a public key.
//!
//! An entry ends with its token, or when the issuer withdraws a key. Only valid tokens of callers with a grant get in, so
//! clients without one can neither fill the cache nor evict anybody from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use foldhash::fast::RandomState;
use ring::digest::{SHA256, digest};

use crate::access::caller::Caller;

/// The number of tokens that are remembered.
const LIMIT: usize = 16 * 1024;
/// Requests that look up different tokens rarely wait for the same lock.
const SHARDS: usize = 32;

/// The SHA-256 of a token.
pub(super) type TokenDigest = [u8; 32];

type Shard = HashMap<TokenDigest, VerifiedToken, RandomState>;

/// The tokens that were verified.
#[derive(Default)]
pub(super) struct VerifiedTokens([Mutex<Shard>; SHARDS]);

struct VerifiedToken {
    caller: Arc<Caller>,
    /// The index of the issuer.
    issuer: usize,
    /// The generation of its keys.
    generation: u64,
    end: SystemTime,
}

/// Returns the key under which a token is remembered.
pub(super) fn id(token: &str) -> TokenDigest {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl VerifiedTokens {
    fn with<T>(&self, id: &TokenDigest, then: impl FnOnce(&mut Shard) -> T) -> T {
        // Nothing can panic while the lock is held, so the value behind a poisoned lock is valid.
        then(&mut self.0[usize::from(id[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the issuer and the caller of a token that is still valid. `is_current` gets the issuer, and the generation of
    /// the keys with which the token was verified.
    pub(super) fn find(
        &self,
        id: &TokenDigest,
        now: SystemTime,
        is_current: impl FnOnce(usize, u64) -> bool,
    ) -> Option<(usize, Caller)> {
        let (issuer, caller) = self.with(id, |shard| {
            let token = shard.get(id)?;
            if token.end > now && is_current(token.issuer, token.generation) {
                return Some((token.issuer, Arc::clone(&token.caller)));
            }
            shard.remove(id);
            None
        })?;
        Some((issuer, Caller::clone(&caller)))
    }

    /// Remembers a token until its end.
    pub(super) fn remember(
        &self,
        id: TokenDigest,
        issuer: usize,
        generation: u64,
        end: SystemTime,
        caller: &Caller,
        now: SystemTime,
    ) {
        let token = VerifiedToken { caller: Arc::new(caller.clone()), issuer, generation, end };
        self.with(&id, |shard| {
            if shard.len() >= LIMIT / SHARDS {
                shard.retain(|_, token| token.end > now);
            }
            if shard.len() >= LIMIT / SHARDS
                && let Some(first) = shard.iter().min_by_key(|(_, token)| token.end).map(|(id, _)| *id)
            {
                shard.remove(&first);
            }
            shard.insert(id, token);
        });
    }

    /// Returns the number of tokens.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::caller::{AuthMethod, Role, Targets};

    fn caller(name: &str) -> Caller {
        let issuer = Some("github".into());
        Caller {
            name: name.to_owned(),
            role: Role::Read,
            targets: Targets::All,
            auth_method: AuthMethod::Jwt,
            issuer,
            expires: None,
        }
    }

    #[test]
    fn a_token_is_known_until_it_ends_or_a_key_is_withdrawn() {
        let (tokens, now) = (VerifiedTokens::default(), SystemTime::UNIX_EPOCH);
        let end = now + Duration::from_secs(60);
        let found = |token: &str, now, generation| {
            tokens.find(&id(token), now, |_, known| known == generation).map(|(_, caller)| caller.name)
        };
        tokens.remember(id("a"), 0, 7, end, &caller("ada"), now);
        assert_eq!(found("a", now, 7).as_deref(), Some("ada"));
        assert_eq!(found("b", now, 7), None);
        assert_eq!(found("a", now, 8), None, "a key was withdrawn");
        assert_eq!((found("a", now, 7), tokens.len()), (None, 0), "and the token is forgotten");
        tokens.remember(id("a"), 0, 8, end, &caller("ada"), now);
        assert_eq!(found("a", end, 8), None, "it has expired");
    }

    #[test]
    fn the_number_of_tokens_is_bounded_and_those_that_end_first_give_way() {
        let (tokens, now) = (VerifiedTokens::default(), SystemTime::UNIX_EPOCH);
        let end = |number: u64| now + Duration::from_secs(1000 + number);
        let last = LIMIT as u64 * 2;
        for number in 0..=last {
            tokens.remember(id(&number.to_string()), 0, 0, end(number), &caller("ada"), now);
        }
        assert!(tokens.len() <= LIMIT && tokens.len() > LIMIT / 2, "{}", tokens.len());
        assert!(tokens.find(&id(&last.to_string()), now, |_, _| true).is_some());
        assert!(tokens.find(&id("0"), now, |_, _| true).is_none());
    }
}
