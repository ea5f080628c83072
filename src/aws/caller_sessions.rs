//! Credentials for each caller, so that CloudTrail names who made a request and not only the appliance.
//!
//! STS binds a source identity or a session tag to a session, so every caller needs a session of its own. The appliance obtains
//! it at the caller's first request and renews it before it expires; until then the old credentials serve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex as AsyncMutex;

use super::credentials::{CredentialsUnavailable, CurrentCredentials, until_renewal};
use super::skew::Skew;
use super::source::CredentialSource;
use crate::backoff::spread;
use crate::clock;

/// Callers whose credentials are kept before those that have expired are dropped.
const KEPT: usize = 1000;
/// The shortest time before STS is asked again after an error, however often the caller comes.
const PAUSE: Duration = Duration::from_secs(2);

/// The callers' credentials.
#[derive(Default)]
pub struct CallerSessions {
    source: OnceLock<CredentialSource>,
    skew: Skew,
    callers: Mutex<HashMap<String, Arc<CallerSession>>>,
}

struct CallerSession {
    current: CurrentCredentials,
    /// The time of the next renewal; locked while STS is asked.
    next: AsyncMutex<Option<SystemTime>>,
}

impl CallerSessions {
    /// Returns no sessions yet; they will expire by the clock with this skew.
    #[must_use]
    pub fn with_skew(skew: Skew) -> Self {
        Self { skew, ..Self::default() }
    }

    /// Sets the source of credentials. Until then there are none.
    pub fn set_source(&self, source: CredentialSource) {
        // Called once; a second source would be the same.
        let _ = self.source.set(source);
    }

    /// The credentials of the caller with this source identity. Waits for STS only if there are none that are valid.
    ///
    /// # Errors
    /// [`CredentialsUnavailable`].
    pub async fn of(self: &Arc<Self>, caller: &str) -> Result<CurrentCredentials, CredentialsUnavailable> {
        let session = self.session(caller);
        if session.current.check().is_err() {
            self.renew(&session, caller, false).await;
        } else if session.next.try_lock().is_ok_and(|next| next.is_some_and(|next| next <= clock::now())) {
            self.begin_renewal(&session, caller, false);
        }
        session.current.check()?;
        Ok(session.current.clone())
    }

    /// Renews the credentials of a caller if they expire within `needed`.
    pub async fn renew_if_short(&self, caller: &str, needed: Duration) {
        let session = self.session(caller);
        session.current.renew_if_short_by(needed, async || self.renew(&session, caller, true).await).await;
    }

    /// Asks for renewal of a caller's credentials now, because AWS has called them expired. It does not wait for the result.
    pub fn expire(self: &Arc<Self>, caller: &str) {
        let session = self.session(caller);
        if session.current.may_replace() {
            self.begin_renewal(&session, caller, true);
        }
    }

    fn begin_renewal(self: &Arc<Self>, session: &Arc<CallerSession>, caller: &str, is_early: bool) {
        let (this, session, caller) = (Arc::clone(self), Arc::clone(session), caller.to_owned());
        tokio::task::spawn_local(async move { this.renew(&session, &caller, is_early).await });
    }

    fn session(&self, name: &str) -> Arc<CallerSession> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = callers.get(name) {
            return Arc::clone(session);
        }
        if callers.len() >= KEPT {
            callers.retain(|_, session| session.current.check().is_ok());
        }
        let current = CurrentCredentials::default().with_skew(self.skew.clone());
        let session = Arc::new(CallerSession { current, next: AsyncMutex::default() });
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
                let wait = until_renewal(&credentials, self.skew.correct(clock::now()));
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
