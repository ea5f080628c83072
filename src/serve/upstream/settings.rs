//! One target as the operator has configured it.

use std::time::Duration;

pub use crate::api::describe::StoreSource;
use crate::aws::role::AssumedRole;
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use crate::mlflow::target::Target;

/// One managed MLflow, as configured.
pub struct TargetSettings {
    /// The name in paths, logs and metrics; a single target has none.
    pub name: Option<String>,
    /// If this is true, the target is also served at `/`.
    pub is_default: bool,
    /// The managed MLflow.
    pub target: Target,
    /// Opens connections to it.
    pub dialer: Dialer,
    /// The limits of those connections.
    pub client: ClientSettings,
    /// The role to assume, if any.
    pub role: Option<AssumedRole>,
    /// The artifact gateway, if it is on.
    pub artifacts: Option<ArtifactSettings>,
}

/// The artifact gateway of one target, as configured.
#[derive(Clone)]
pub struct ArtifactSettings {
    /// The artifact store, or the endpoint to ask for it.
    pub store_source: StoreSource,
    /// An endpoint other than the region's S3.
    pub s3_endpoint: Option<Endpoint>,
    /// The way that artifacts travel.
    pub access: ArtifactAccess,
    /// If this is true, an upload is buffered and its whole SHA-256 is sent, instead of one signature for each chunk.
    pub signs_whole_uploads: bool,
    /// The validity of a presigned URL.
    pub url_lifetime: Duration,
    /// The KMS key for new objects; without it the bucket decides.
    pub kms_key: Option<String>,
    /// If this is true, callers may name locations outside of the store. Managed MLflow reads those with its own role.
    pub may_be_elsewhere: bool,
}

/// The way that artifacts travel between caller and S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArtifactAccess {
    /// All through the appliance; callers need not reach S3.
    Proxied,
    /// Through the appliance, and in parts by presigned URLs where the client knows how.
    #[default]
    Multipart,
    /// Artifacts travel only by presigned URLs; no byte of an artifact crosses the appliance.
    PresignedOnly,
}
