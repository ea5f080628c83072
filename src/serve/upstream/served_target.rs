//! One target as all workers share it: its settings, its credentials, and the state that requests to it have revealed.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::access::caller::Caller;
use crate::api::Transport;
use crate::aws::caller_sessions::CallerSessions;
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::{ClientSettings, Dialer};
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;
use crate::serve::error::ProxyError;
use crate::serve::limits::circuit_breaker::CircuitBreaker;
use crate::serve::upstream::settings::{ArtifactSettings, StoreSource, TargetSettings};

/// One managed MLflow, shared by all workers.
pub(crate) struct ServedTarget {
    /// The name in paths, logs and metrics; a single target has none.
    pub name: Option<String>,
    /// If this is true, the target is also served at `/`.
    pub is_default: bool,
    /// The managed MLflow.
    pub target: Target,
    pub(crate) dialer: Dialer,
    pub(crate) client: ClientSettings,
    /// The credentials that sign its requests, shared with other targets that use the same role, as is the clock skew by which they
    /// expire.
    pub(crate) credentials: CurrentCredentials,
    /// Each caller's own credentials, if the role carries the callers' names.
    pub(crate) caller_sessions: Option<Arc<CallerSessions>>,
    pub(crate) artifacts: Option<ArtifactSettings>,
    /// The artifact store, once it is known.
    pub(crate) store: ArcSwapOption<ArtifactStore>,
    /// The reason why the artifact store is not known, in words that any caller may read.
    pub(crate) store_obstacle: ArcSwapOption<String>,
    /// The circuit breaker of the target.
    pub(crate) breaker: CircuitBreaker,
    /// The circuit breaker of its S3.
    pub(crate) s3_breaker: CircuitBreaker,
}

impl ServedTarget {
    /// Returns the way to connect to AWS's other services.
    pub(crate) fn transport(&self) -> Transport {
        Transport { dialer: self.dialer.clone(), exchange_timeout: self.client.response_timeout }
    }

    /// Returns a target whose requests are signed with these credentials.
    pub(crate) fn new(
        settings: TargetSettings,
        (credentials, caller_sessions): (CurrentCredentials, Option<Arc<CallerSessions>>),
    ) -> Self {
        let known = settings.artifacts.as_ref().and_then(|artifacts| match &artifacts.store_source {
            StoreSource::Known(store) => Some(Arc::new(store.clone())),
            StoreSource::Described(_) => None,
        });
        Self {
            name: settings.name,
            is_default: settings.is_default,
            target: settings.target,
            dialer: settings.dialer,
            client: settings.client,
            credentials,
            caller_sessions,
            artifacts: settings.artifacts,
            store: ArcSwapOption::new(known),
            store_obstacle: ArcSwapOption::empty(),
            breaker: CircuitBreaker::to("managed MLflow"),
            s3_breaker: CircuitBreaker::to("S3"),
        }
    }

    /// Returns the credentials that sign the requests of a caller. A clone of those that all callers share would change five counters
    /// that all workers write.
    ///
    /// # Errors
    /// [`ProxyError::Credentials`], only where each caller has credentials of its own.
    pub(crate) async fn credentials_for(
        &self,
        caller: Option<&Caller>,
    ) -> Result<Cow<'_, CurrentCredentials>, ProxyError> {
        match (&self.caller_sessions, caller) {
            (Some(caller_sessions), Some(caller)) => {
                Ok(Cow::Owned(Box::pin(caller_sessions.of(&caller.source_identity())).await?))
            }
            _ => Ok(Cow::Borrowed(&self.credentials)),
        }
    }

    /// Asks for renewal of the credentials that sign the requests of a caller, because they have expired.
    pub(crate) fn expire(&self, source_identity: Option<&str>) {
        match (&self.caller_sessions, source_identity) {
            (Some(caller_sessions), Some(identity)) => caller_sessions.expire(identity),
            _ => self.credentials.renew(),
        }
    }

    /// Returns the error of requests that arrive before the artifact store is known.
    pub(crate) fn without_store(&self) -> ProxyError {
        // Without credentials the appliance cannot ask AWS for the store, so the error names the credentials.
        match self.credentials.check() {
            Err(unavailable) => unavailable.into(),
            Ok(()) => ProxyError::ArtifactStoreUnknown(self.store_obstacle.load_full()),
        }
    }

    /// Returns the name, or a stand-in for logs and metrics.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("default")
    }
}
