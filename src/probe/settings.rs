//! The settings of all probes.

use std::time::Duration;

use crate::api::Transport;
use crate::api::describe::StoreSource;
use crate::api::log_events::LogGroup;
use crate::api::stored_secret::StoredSecret;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::Egress;
use crate::http::client::Endpoint;
use crate::issuer::TrustedIssuer;
use crate::mlflow::target::Target;

/// The limit for one probe.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// One target to be probed.
pub struct ProbeTarget {
    /// The name of the target.
    pub name: String,
    /// The target.
    pub target: Target,
    /// Connects to the target, and to AWS's other services.
    pub transport: Transport,
    /// The role to assume.
    pub role: Option<AssumedRole>,
    /// The artifact store, if the gateway is on.
    pub artifacts: Option<ProbedStore>,
}

/// The artifact store to be probed.
pub struct ProbedStore {
    /// The location of the store, or the endpoint to ask.
    pub store_source: StoreSource,
    /// An endpoint that replaces the region's S3.
    pub s3_endpoint: Option<Endpoint>,
    /// The KMS key for new objects.
    pub kms_key: Option<String>,
}

/// A secret to be probed, which AWS stores and the machine's own credentials read.
pub struct ProbedSecret {
    /// The option that names it.
    pub option: String,
    /// The secret.
    pub stored: StoredSecret,
    /// The shortest text that can be used. Bytes.
    pub least: usize,
}

/// The log group to be probed, into which the machine's own credentials put events.
pub struct ProbedLogs {
    /// The group.
    pub group: LogGroup,
    /// The name of this machine in names of streams.
    pub machine: String,
}

/// An issuer to be probed.
pub struct ProbedIssuer {
    /// The issuer.
    pub trusted: TrustedIssuer,
    /// True if people sign in there with their browser.
    pub has_sign_on: bool,
}

/// The settings that all probes share.
pub struct ProbeSettings {
    /// The targets.
    pub targets: Vec<ProbeTarget>,
    /// The issuers of callers' JWTs.
    pub issuers: Vec<ProbedIssuer>,
    /// The secrets that AWS stores.
    pub secrets: Vec<ProbedSecret>,
    /// The log group that receives the log and the audit log.
    pub logs: Option<ProbedLogs>,
    /// The STS endpoints that confirm the AWS identities of callers.
    pub identity_endpoints: Vec<Endpoint>,
    /// An endpoint that replaces the region's STS.
    pub sts_endpoint: Option<Endpoint>,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// True if the probe may write to the artifact store, where it creates and deletes one object, and to the log group.
    pub may_write: bool,
}
