//! The connection of a command to a service of AWS: region, credentials, trust and proxies.

use std::path::PathBuf;
use std::time::Duration;

use super::command_error::{CommandError, ExitClass};
use super::trust::Trust;
use crate::api::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::sdk;
use crate::aws::source::CredentialSource;
use crate::http::client::{Dialer, Endpoint};

/// A connection that takes longer fails.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Most services answer within a second; a change set with many resources takes CloudFormation some.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct AwsArguments {
    /// The AWS region [default: the region of the AWS configuration]
    #[arg(long, env = "AWS_REGION", hide_env_values = true, value_name = "REGION", help_heading = "AWS")]
    pub(super) region: Option<String>,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = "AWS")]
    pub(super) ca_file: Option<PathBuf>,
}

/// The means to call a service.
pub(super) struct AwsConnection {
    /// The connections to the service.
    pub(super) transport: Transport,
    /// The credentials that sign the requests.
    pub(super) credentials: CurrentCredentials,
    /// The source of further credentials.
    #[cfg(feature = "deploy")]
    pub(super) source: CredentialSource,
}

impl AwsArguments {
    /// The region by the option, or by the configuration of AWS's own tools.
    pub(super) async fn region(&self) -> Result<String, CommandError> {
        match self.region.clone().filter(|region| !region.is_empty()) {
            Some(region) => Ok(region),
            None => sdk::default_region(&self.trust()?.egress).await.ok_or_else(|| {
                CommandError::of(ExitClass::Usage, "no region is configured", Some("set `--region` or AWS_REGION"))
            }),
        }
    }

    fn trust(&self) -> Result<Trust, CommandError> {
        Trust::read(self.ca_file.as_deref())
    }

    /// Obtains credentials, and prepares connections to an endpoint.
    pub(super) async fn connect(&self, region: &str, endpoint: &Endpoint) -> Result<AwsConnection, CommandError> {
        let Trust { tls, egress } = self.trust()?;
        let source = CredentialSource::new(&sdk::load(region, &egress).await, None);
        let obtained = source.obtain(None).await;
        let credentials =
            obtained.map_err(|error| CommandError::of(ExitClass::Failed, &error.detail(), Some(error.hint())))?;
        let dialer = Dialer::new(endpoint.clone(), &tls, CONNECT_LIMIT, CONNECT_LIMIT).through(&egress.proxies);
        Ok(AwsConnection {
            transport: Transport { dialer, exchange_timeout: ANSWER_LIMIT },
            credentials: CurrentCredentials::holding(credentials),
            #[cfg(feature = "deploy")]
            source,
        })
    }
}
