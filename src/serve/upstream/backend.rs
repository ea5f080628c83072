//! The managed MLflows behind one appliance: what each needs, and which one a path means.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::access::caller::{Caller, Targets};
use crate::api::Transport;
pub use crate::api::describe::ArtifactLocation;
use crate::aws::caller_sessions::CallerSessions;
use crate::aws::credentials::Current;
use crate::aws::role::AssumedRole;
use crate::aws::skew::Skew;
use crate::clock;
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use crate::http::uri;
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::limits::circuit_breaker::Circuit;

/// What lies under `/t/<name>/` belongs to the target of that name.
const PREFIX: &str = "/t/";

/// One managed MLflow, as configured.
pub struct TargetSettings {
    /// What it is called in paths, logs and metrics; nothing for the only one.
    pub name: Option<String>,
    /// Whether it is served at `/`, too.
    pub is_default: bool,
    /// What it is.
    pub target: Target,
    /// Opens connections to it.
    pub dialer: Dialer,
    /// Limits of those connections.
    pub client: ClientSettings,
    /// The role to assume, if any.
    pub role: Option<AssumedRole>,
    /// The artifact gateway, if it is on.
    pub artifacts: Option<ArtifactSettings>,
}

/// The artifact gateway of one MLflow, as configured.
#[derive(Clone)]
pub struct ArtifactSettings {
    /// Where the artifacts are.
    pub place: ArtifactLocation,
    /// Another endpoint than the region's S3.
    pub s3_endpoint: Option<Endpoint>,
    /// How artifacts travel.
    pub access: Access,
    /// How long a presigned URL holds.
    pub url_lifetime: Duration,
    /// The KMS key for new objects; without it the bucket decides.
    pub kms_key: Option<String>,
    /// If this is true, callers may name locations outside of the store. Managed MLflow reads those with its own role.
    pub may_be_elsewhere: bool,
}

/// How artifacts travel between caller and S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// All through the appliance; callers need not reach S3.
    Proxied,
    /// Through the appliance, and in parts by presigned URLs where the client knows how.
    #[default]
    Multipart,
    /// Only by presigned URLs; no artifact byte crosses the appliance.
    PresignedOnly,
}

/// One managed MLflow, shared by all workers.
pub(crate) struct ServedTarget {
    /// What it is called.
    pub name: Option<String>,
    /// Whether it is served at `/`, too.
    pub is_default: bool,
    /// What it is.
    pub target: Target,
    pub(crate) dialer: Dialer,
    pub(crate) client: ClientSettings,
    /// What its requests are signed with; shared with others that use the same role.
    pub(crate) credentials: Current,
    /// What those of callers are signed with, if AWS is told who they are.
    pub(crate) caller_sessions: Option<Arc<CallerSessions>>,
    pub(crate) artifacts: Option<ArtifactSettings>,
    /// Where its artifacts are, once that is known.
    pub(crate) store: ArcSwapOption<ArtifactStore>,
    /// Why that is not known, in words that any caller may read.
    pub(crate) describing: ArcSwapOption<String>,
    /// Whether it is asked at the moment.
    pub(crate) circuit: Circuit,
    /// The circuit breaker of its S3.
    pub(crate) store_circuit: Circuit,
    /// How far its clock is from ours.
    pub(crate) skew: Skew,
}

impl ServedTarget {
    /// How AWS's other services are connected to.
    pub(crate) fn transport(&self) -> Transport {
        Transport { dialer: self.dialer.clone(), exchange_timeout: self.client.response_timeout }
    }

    /// A backend that signs with these credentials.
    #[must_use]
    pub(crate) fn new(
        settings: TargetSettings,
        (credentials, caller_sessions): (Current, Option<Arc<CallerSessions>>),
    ) -> Self {
        let known = settings.artifacts.as_ref().and_then(|artifacts| match &artifacts.place {
            ArtifactLocation::Known(store) => Some(Arc::new(store.clone())),
            ArtifactLocation::Described(_) => None,
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
            describing: ArcSwapOption::empty(),
            circuit: Circuit::default(),
            store_circuit: Circuit::to("S3"),
            skew: Skew::default(),
        }
    }

    /// What a caller's requests are signed with.
    ///
    /// # Errors
    /// [`ProxyError::Credentials`], only where each caller has credentials of its own.
    pub(crate) async fn credentials_for(&self, caller: Option<&Caller>) -> Result<Current, ProxyError> {
        match (&self.caller_sessions, caller) {
            (Some(caller_sessions), Some(caller)) => Ok(Box::pin(caller_sessions.of(&caller.name)).await?),
            _ => Ok(self.credentials.clone()),
        }
    }

    /// Why requests cannot be passed on before it is known where the artifacts are.
    #[must_use]
    pub(crate) fn without_store(&self) -> ProxyError {
        // Without credentials nothing can be asked, so the error names the credentials.
        match self.credentials.with(clock::now(), |_| ()) {
            Err(unavailable) => unavailable.into(),
            Ok(()) => ProxyError::StoreUnknown(self.describing.load_full()),
        }
    }

    /// The name, where one is needed.
    #[must_use]
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("default")
    }
}

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination<'a> {
    /// The backend with this index, what of the path named it, and the path as it knows it.
    ServedTarget(usize, &'a str, &'a str),
    /// The same path with a slash at its end, so that the UI's relative URLs work.
    WithSlash(String),
}

/// Finds the backend of a path in normal form, for a caller who may use these targets.
///
/// # Errors
/// [`ProxyError::UnknownTarget`], or [`AccessError::Target`].
pub(crate) fn route<'a>(
    path: &'a str,
    backends: &[Arc<ServedTarget>],
    allowed: &Targets,
) -> Result<Destination<'a>, ProxyError> {
    let rooted = uri::rooted(path);
    let Some(rest) = rooted.strip_prefix(PREFIX) else {
        let default = backends.iter().position(|backend| backend.is_default).ok_or(ProxyError::UnknownTarget)?;
        return Ok(Destination::ServedTarget(default, "", path));
    };
    let name = rest.split_once('/').map_or(rest, |(name, _)| name);
    // SECURITY: whoever may use some of the targets need not learn which others there are.
    if !allowed.contains(name) {
        return Err(AccessError::Target.into());
    }
    let index =
        backends.iter().position(|backend| backend.name.as_deref() == Some(name)).ok_or(ProxyError::UnknownTarget)?;
    let (prefix, inner) = rooted.split_at(PREFIX.len() + name.len());
    Ok(if inner.is_empty() {
        Destination::WithSlash(format!("{prefix}/"))
    } else {
        Destination::ServedTarget(index, prefix, inner)
    })
}
