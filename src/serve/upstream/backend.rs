//! The managed MLflows behind one appliance, and what each needs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::access::caller::Caller;
use crate::api::Transport;
pub use crate::api::describe::Place;
use crate::aws::credentials::Current;
use crate::aws::on_behalf::OnBehalf;
use crate::aws::role::Role;
use crate::aws::skew::Skew;
use crate::clock;
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;
use crate::serve::error::ProxyError;
use crate::serve::limits::circuit_breaker::Circuit;

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
    pub role: Option<Role>,
    /// The artifact gateway, if it is on.
    pub artifacts: Option<ArtifactSettings>,
}

/// The artifact gateway of one MLflow, as configured.
#[derive(Clone)]
pub struct ArtifactSettings {
    /// Where the artifacts are.
    pub place: Place,
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
    pub(crate) on_behalf: Option<Arc<OnBehalf>>,
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
        Transport { dialer: self.dialer.clone(), settings: self.client }
    }

    /// A backend that signs with these credentials.
    #[must_use]
    pub(crate) fn new(settings: TargetSettings, (credentials, on_behalf): (Current, Option<Arc<OnBehalf>>)) -> Self {
        let known = settings.artifacts.as_ref().and_then(|artifacts| match &artifacts.place {
            Place::Known(store) => Some(Arc::new(store.clone())),
            Place::Described(_) => None,
        });
        Self {
            name: settings.name,
            is_default: settings.is_default,
            target: settings.target,
            dialer: settings.dialer,
            client: settings.client,
            credentials,
            on_behalf,
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
        match (&self.on_behalf, caller) {
            (Some(on_behalf), Some(caller)) => Ok(Box::pin(on_behalf.of(&caller.name)).await?),
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
