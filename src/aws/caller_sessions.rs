//! Credentials for each caller, so that CloudTrail names who made a request and not only the appliance.
//!
//! STS binds a source identity or a session tag to a session, so every caller needs a session of its own. The appliance obtains
//! it at the caller's first request and renews it before it expires; until then the old credentials serve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex as AsyncMutex;

use super::credentials::{Current, Unavailable, until_renewal};
use super::source::CredentialSource;
use crate::backoff::spread;
use crate::clock;

/// Callers whose credentials are kept before those that have expired are dropped.
const KEPT: usize = 1000;
/// The shortest time before STS is asked again after an error, however often the caller comes.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest source identity that STS allows. Characters.
const LONGEST_NAME: usize = 64;

/// The callers' credentials.
#[derive(Default)]
pub struct CallerSessions {
    source: OnceLock<CredentialSource>,
    callers: Mutex<HashMap<String, Arc<CallerSession>>>,
}

#[derive(Default)]
struct CallerSession {
    current: Current,
    /// The time of the next renewal; locked while STS is asked.
    next: AsyncMutex<Option<SystemTime>>,
}

impl CallerSessions {
    /// Sets the source of credentials. Until then there are none.
    pub fn set_source(&self, source: CredentialSource) {
        // Called once; a second source would be the same.
        let _ = self.source.set(source);
    }

    /// The credentials of a caller. Waits for STS only if there are none that are valid.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn of(self: &Arc<Self>, caller: &str) -> Result<Current, Unavailable> {
        let name = identity(caller);
        let session = self.session(&name);
        if session.current.with(clock::now(), |_| ()).is_err() {
            self.renew(&session, &name, false).await;
        } else if session.next.try_lock().is_ok_and(|next| next.is_some_and(|next| next <= clock::now())) {
            let (this, session) = (Arc::clone(self), Arc::clone(&session));
            tokio::task::spawn_local(async move { this.renew(&session, &name, false).await });
        }
        session.current.with(clock::now(), |_| ())?;
        Ok(session.current.clone())
    }

    /// Renews the credentials of a caller if they expire within `needed`.
    pub async fn prolong(&self, caller: &str, needed: Duration) {
        let name = identity(caller);
        let session = self.session(&name);
        session.current.prolong_by(needed, async || self.renew(&session, &name, true).await).await;
    }

    fn session(&self, name: &str) -> Arc<CallerSession> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = callers.get(name) {
            return Arc::clone(session);
        }
        if callers.len() >= KEPT {
            let now = clock::now();
            callers.retain(|_, session| session.current.with(now, |_| ()).is_ok());
        }
        let session = Arc::<CallerSession>::default();
        callers.insert(name.to_owned(), Arc::clone(&session));
        session
    }

    /// Asks STS if a renewal is due, or in any case if `is_early` is true.
    async fn renew(&self, session: &CallerSession, name: &str, is_early: bool) {
        let mut next = session.next.lock().await;
        if !is_early && next.is_some_and(|next| next > clock::now()) {
            // Another request has asked STS while this one waited.
            return;
        }
        let Some(source) = self.source.get() else { return };
        let wait = match source.obtain(Some(name)).await {
            Ok(credentials) => {
                let wait = until_renewal(&credentials, clock::now());
                session.current.publish(credentials);
                wait
            }
            Err(error) => {
                session.current.note_failure(&error);
                spread(PAUSE..=2 * PAUSE)
            }
        };
        *next = Some(clock::now() + wait);
    }
}

/// A name as STS accepts it (`[\w+=,.@-]{2,64}`).
fn identity(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "+=,.@_-".contains(c) { c } else { '-' };
    let mut text: String = name.chars().map(plain).take(LONGEST_NAME).collect();
    while text.len() < 2 {
        text.push('-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_sts_accepts() {
        for (name, expected) in [
            ("ada@corp.example", "ada@corp.example"),
            ("uri:spiffe://corp/ci", "uri-spiffe---corp-ci"),
            ("a", "a-"),
            ("", "--"),
            ("ü b", "--b"),
        ] {
            assert_eq!(identity(name), expected);
        }
        assert_eq!(identity(&"x".repeat(100)).len(), 64);
    }
}
