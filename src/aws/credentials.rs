//! The credentials that requests are signed with, renewed ahead of time.
//!
//! One task obtains them ahead of expiry and publishes them; requests read the latest without waiting. When AWS
//! cannot be reached, the old ones serve until they expire; after that requests fail at once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use aws_credential_types::Credentials;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::timeout;
use tracing::{info, warn};

use super::outcomes::Outcomes;
use super::skew::Skew;
use super::source::{CredentialSource, SourceError};
use crate::backoff::Backoff;
use crate::clock;

/// Credentials without an expiry may still change, in a profile file for example; they are reloaded this often.
const REREAD_INTERVAL: Duration = Duration::from_mins(15);
/// Credentials are renewed this long before they expire, or a quarter of their life, whichever is shorter.
const RENEWAL_MARGIN: Duration = Duration::from_mins(10);
/// The wait after a failure doubles from the first to the second of these.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The longest wait of a request for a renewal that it has asked for.
const RENEWAL_WAIT: Duration = Duration::from_secs(10);
/// The shortest time between two renewals that requests have asked for. If a role assumes a role, credentials never last longer
/// than an hour, and without this limit each upload would ask STS again.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);

/// The latest credentials, which all signers share. A clone shares them as well.
#[derive(Clone, Debug)]
pub struct CurrentCredentials {
    state: Arc<ArcSwap<CredentialState>>,
    renew: Arc<Notify>,
    /// Notified when an attempt to obtain credentials has ended.
    attempted: Arc<Notify>,
    /// The time of the last renewal that a request has asked for; locked during that renewal.
    renewed_on_request: Arc<AsyncMutex<Option<Instant>>>,
    outcomes: Arc<Outcomes>,
    /// The difference between the clock of AWS, by which credentials expire, and ours.
    skew: Skew,
}

#[derive(Debug)]
struct CredentialState {
    credentials: Option<Credentials>,
    problem: String,
    /// The last failures, if the last attempt to obtain credentials failed.
    failed: Option<Failures>,
}

/// The failures since the last success. The log gets each cause once, because it would otherwise repeat it every 30 seconds.
#[derive(Debug)]
struct Failures {
    attempts: u32,
    detail: String,
}

/// There are no valid credentials at this moment. The text says why, and any caller may read it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsUnavailable(String);

impl Default for CurrentCredentials {
    fn default() -> Self {
        Self::of(None, "AWS credentials have not been obtained yet")
    }
}

impl CurrentCredentials {
    /// Holds these credentials and never renews them, for a few calls that end before they expire.
    #[must_use]
    pub fn holding(credentials: Credentials) -> Self {
        Self::of(Some(credentials), "the AWS credentials have expired")
    }

    fn of(credentials: Option<Credentials>, problem: &str) -> Self {
        Self {
            state: Arc::new(ArcSwap::from_pointee(CredentialState {
                credentials,
                problem: problem.to_owned(),
                failed: None,
            })),
            renew: Arc::default(),
            attempted: Arc::default(),
            renewed_on_request: Arc::default(),
            outcomes: Arc::default(),
            skew: Skew::default(),
        }
    }

    /// Returns the same credentials, which expire by the clock with this skew.
    #[must_use]
    pub fn with_skew(self, skew: Skew) -> Self {
        Self { skew, ..self }
    }

    /// The skew of the clock by which the credentials expire.
    #[must_use]
    pub fn skew(&self) -> &Skew {
        &self.skew
    }

    /// The time by the clock of AWS.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.skew.correct(clock::now())
    }

    /// Checks that there are valid credentials.
    ///
    /// # Errors
    /// As those of [`Self::with`].
    pub fn check(&self) -> Result<(), CredentialsUnavailable> {
        self.with(self.now(), |_| ())
    }

    /// Calls `sign` with the credentials that are valid at `now` by the clock of AWS. It never waits.
    ///
    /// # Errors
    /// [`CredentialsUnavailable`] before the first success, and after expiry if renewal fails.
    pub fn with<T>(&self, now: SystemTime, sign: impl FnOnce(&Credentials) -> T) -> Result<T, CredentialsUnavailable> {
        let state = self.state.load();
        match &state.credentials {
            Some(credentials) if credentials.expiry().is_none_or(|expiry| expiry > now) => Ok(sign(credentials)),
            _ => Err(CredentialsUnavailable(state.problem.clone())),
        }
    }

    /// The expiry of the current credentials, if there are credentials and if they expire.
    #[must_use]
    pub fn expiry(&self) -> Option<Option<SystemTime>> {
        self.state.load().credentials.as_ref().map(Credentials::expiry)
    }

    /// The reason why the last attempt to obtain credentials failed, if it did. Earlier credentials may still be valid.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let state = self.state.load();
        state.failed.is_some().then(|| state.problem.clone())
    }

    /// The counters of the attempts to obtain credentials.
    #[must_use]
    pub fn outcomes(&self) -> &Arc<Outcomes> {
        &self.outcomes
    }

    /// Asks for renewal now, because the credentials have expired or AWS has called them so. It does not wait for the result.
    pub fn renew(&self) {
        if self.may_replace() {
            self.renew.notify_one();
        }
    }

    /// Returns true if credentials that have been rejected may be renewed now. That begins the pause before the next such renewal:
    /// each request of an outage asks for one.
    pub(super) fn may_replace(&self) -> bool {
        // While it is locked, a renewal is under way.
        let Ok(mut renewed_on_request) = self.renewed_on_request.try_lock() else { return false };
        let is_due = renewed_on_request.is_none_or(|last| last.elapsed() >= RENEWAL_INTERVAL);
        if is_due {
            *renewed_on_request = Some(Instant::now());
        }
        is_due
    }

    /// Renews the credentials if they expire within `needed`, and waits for the result. The new ones may expire as soon.
    pub async fn renew_if_short(&self, needed: Duration) {
        let renew = async || {
            let attempted = self.attempted.notified();
            self.renew.notify_one();
            // If no answer comes in time, the request continues with the old credentials.
            let _ = timeout(RENEWAL_WAIT, attempted).await;
        };
        self.renew_if_short_by(needed, renew).await;
    }

    /// Renews credentials that expire within `needed` by the given renewal, which tests replace.
    pub(super) async fn renew_if_short_by(&self, needed: Duration, renew: impl AsyncFnOnce()) {
        let are_short = || {
            let state = self.state.load();
            let expiry = state.credentials.as_ref().and_then(Credentials::expiry);
            expiry.is_some_and(|expiry| expiry < self.now() + needed)
        };
        if !are_short() {
            return;
        }
        // Requests that come during a renewal wait for that one.
        let mut renewed_on_request = self.renewed_on_request.lock().await;
        if are_short() && renewed_on_request.is_none_or(|last| last.elapsed() >= RENEWAL_INTERVAL) {
            renew().await;
            *renewed_on_request = Some(Instant::now());
        }
    }

    /// Renews the credentials before they expire, for as long as it is polled. If there are credentials already, it waits until
    /// they are due. Exactly one task must run this.
    pub async fn keep_renewed(&self, source: &CredentialSource) {
        let start = BACKOFF;
        let mut backoff = start.clone();
        let held = self.state.load().credentials.as_ref().map(|held| until_renewal(held, self.now()));
        if let Some(wait) = held {
            self.pause(wait).await;
        }
        loop {
            let wait = match source.obtain(None).await {
                Ok(credentials) => {
                    backoff = start.clone();
                    let wait = until_renewal(&credentials, self.now());
                    self.publish(credentials);
                    wait
                }
                Err(error) => {
                    self.note_failure(&error);
                    backoff.wait()
                }
            };
            self.pause(wait).await;
        }
    }

    /// Waits for that time, or until a request asks for other credentials.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.renew.notified() => {}
        }
    }

    pub(super) fn publish(&self, credentials: Credentials) {
        let lifetime = credentials.expiry().and_then(|expiry| expiry.duration_since(self.now()).ok());
        // Before the requests that wait for them: their lines follow this one in the log.
        info!(valid_for_s = lifetime.map(|lifetime| lifetime.as_secs()), "the AWS credentials were obtained");
        let problem = "the AWS credentials have expired and could not be renewed yet".to_owned();
        self.state.store(Arc::new(CredentialState { credentials: Some(credentials), problem, failed: None }));
        self.attempted.notify_waiters();
    }

    pub(super) fn note_failure(&self, error: &SourceError) {
        let state = self.state.load();
        let detail = error.detail();
        let earlier = state.failed.as_ref();
        let attempts = earlier.map_or(1, |failed| failed.attempts.saturating_add(1));
        let is_repeated = earlier.is_some_and(|failed| failed.detail == detail);
        let still_valid = self.check().is_ok();
        if is_repeated {
            warn!(still_valid, attempts, error = %error, "the AWS credentials still could not be obtained");
        } else {
            warn!(still_valid, error = &detail, hint = error.hint(), "the AWS credentials could not be obtained");
        }
        self.state.store(Arc::new(CredentialState {
            credentials: state.credentials.clone(),
            problem: error.to_string(),
            failed: Some(Failures { attempts, detail }),
        }));
        self.attempted.notify_waiters();
    }
}

/// The time until credentials should be renewed.
pub(super) fn until_renewal(credentials: &Credentials, now: SystemTime) -> Duration {
    let Some(expiry) = credentials.expiry() else {
        return REREAD_INTERVAL;
    };
    let lifetime = expiry.duration_since(now).unwrap_or_default();
    let margin = RENEWAL_MARGIN.min(lifetime / 4);
    // A source that hands out credentials at the end of their life must not be asked in a tight loop.
    lifetime.saturating_sub(margin).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_expire_by_the_clock_of_aws() {
        let minutes = Duration::from_mins;
        let now = clock::now();
        let credentials = Credentials::new("id", "secret", None, Some(now + minutes(10)), "test");
        let skew = Skew::default();
        let current = CurrentCredentials::holding(credentials).with_skew(skew.clone());
        assert!(current.check().is_ok());
        assert!(skew.detect(now + minutes(20), now, now));
        assert!(current.check().is_err(), "it is later there");
    }

    #[test]
    fn credentials_that_are_rejected_are_renewed_with_pauses() {
        let current = CurrentCredentials::default();
        assert!(current.may_replace());
        assert!((0..100).all(|_| !current.may_replace()));
    }
}
