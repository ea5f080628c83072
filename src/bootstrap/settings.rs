//! The settings of all `bootstrap` commands, and the interface that reads a configuration as `serve` does.

use std::path::PathBuf;

use tokio::time::Instant;

use super::ready::ListenAddress;
use crate::api::Transport;
use crate::aws::sdk::Egress;
use crate::http::client::{Dialer, Endpoint};
use crate::probe::ProbeSettings;

/// Shows a line to a person.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// Everything that `bootstrap` needs, checked.
pub struct BootstrapSettings {
    /// Opens connections to the metadata service.
    pub metadata: Dialer,
    /// The time at which waiting for the metadata service ends.
    pub metadata_deadline: Instant,
    /// Connects to AWS's services.
    pub transport: Transport,
    /// Endpoints that replace the region's.
    pub services: ServiceEndpoints,
    /// The trusted authorities and the proxies of the AWS SDK's connections.
    pub egress: Egress,
    /// The image's own configuration file, whose values are the defaults.
    pub defaults: Option<PathBuf>,
    /// The directory for the configuration and the record.
    pub state: PathBuf,
    /// The directories of systemd's units, the one with precedence first.
    pub units: Vec<PathBuf>,
    /// The time by which the instance has to be ready.
    pub deadline: Instant,
}

/// Endpoints that replace the region's.
#[derive(Clone, Debug, Default)]
pub struct ServiceEndpoints {
    /// Auto Scaling.
    pub auto_scaling: Option<Endpoint>,
    /// Elastic Load Balancing.
    pub load_balancing: Option<Endpoint>,
    /// CloudFormation.
    pub cloudformation: Option<Endpoint>,
    /// The Parameter Store.
    pub ssm: Option<Endpoint>,
}

/// Reads a configuration as `serve` does.
pub trait ConfigurationReader {
    /// Returns the settings, or the problems, each with its line if it has one.
    ///
    /// # Errors
    /// All problems of the configuration.
    fn read(&self, text: &str) -> Result<UsableConfiguration, Vec<(Option<usize>, String)>>;
}

/// A configuration that can be used.
pub struct UsableConfiguration {
    /// The settings of the probes.
    pub probes: ProbeSettings,
    /// The address on which the appliance will listen.
    pub listen: ListenAddress,
}
