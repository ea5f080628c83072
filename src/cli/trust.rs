//! The certificate authorities that commands trust, by `ca-file`, and the proxies on their way to AWS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::command_error::{CommandError, ExitClass};
use super::options::{RawValue, ValueOrigin};
use super::problems::Problems;
use super::proxies;
use crate::aws::sdk::Egress;
use crate::error_chain;
use crate::http::client::{Dialer, Endpoint};
use crate::http::tls;
use crate::proxy::Proxies;

/// The authorities of the system and of a file, and the proxies, for our client and for the AWS SDK's.
pub(super) struct Trust {
    /// The authorities for our client.
    pub tls: Arc<ClientConfig>,
    /// The authorities for the SDK's client, and the proxies for both.
    pub egress: Egress,
}

impl Trust {
    /// The authorities and proxies for the SDK's client alone. Without a file, it needs no authorities of the system: credentials
    /// may come from the environment or from the metadata service.
    pub(super) fn for_sdk(ca_file: Option<&Path>) -> Result<Egress, CommandError> {
        if ca_file.is_some() {
            return Ok(Self::read(ca_file)?.egress);
        }
        let mut problems = Problems::default();
        let proxies = proxies::read(&mut problems);
        problems.none_or_all().map_err(|problems| CommandError::configuration(&problems))?;
        Ok(Egress { authorities: None, proxies })
    }

    /// Reads the file, if one is named, for a command without other configuration.
    pub(super) fn read(ca_file: Option<&Path>) -> Result<Self, CommandError> {
        let rejected = |error: &(dyn std::error::Error + 'static)| {
            CommandError::new(ExitClass::Configuration, error, Some("name a readable PEM file with `--ca-file`"))
        };
        let tls = tls::client_config(ca_file).map_err(|error| rejected(&error))?;
        let authorities = ca_file.map(std::fs::read).transpose().map_err(|error| rejected(&error))?;
        let mut problems = Problems::default();
        let proxies = proxies::read(&mut problems);
        problems.none_or_all().map_err(|problems| CommandError::configuration(&problems))?;
        Ok(Self { tls, egress: Egress { authorities, proxies } })
    }
}

/// Returns the way to a service. A connection that takes longer than five seconds fails.
pub(super) fn dialer(endpoint: &Endpoint, tls: &Arc<ClientConfig>, proxies: &Proxies) -> Dialer {
    const LIMIT: Duration = Duration::from_secs(5);
    Dialer::new(endpoint.clone(), tls, LIMIT, LIMIT).through(proxies)
}

/// The authorities by the option `ca-file`, for our client and as PEM text for the AWS SDK's.
pub(super) fn authorities(
    ca_file: Option<&RawValue>,
    problems: &mut Problems,
) -> Option<(Arc<ClientConfig>, Option<Vec<u8>>)> {
    let path = ca_file.map(|given| PathBuf::from(&given.text));
    match tls::client_config(path.as_deref()) {
        Ok(config) => Some((config, path.and_then(|path| std::fs::read(path).ok()))),
        Err(error) => {
            let hint = match ca_file {
                None => "install the `ca-certificates` package, or set `ca-file`",
                Some(_) => "name a readable PEM file of certificate authorities",
            };
            problems.add_local(ValueOrigin::of(ca_file), error_chain::joined(&error), hint);
            None
        }
    }
}
