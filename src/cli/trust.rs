//! Whom the commands trust that talk to AWS's own services, by `--ca-file`, and how they get there.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use super::failure::{Class, Failure};
use super::problems::Problems;
use super::proxies;
use crate::aws::sdk::Egress;
use crate::http::tls;

/// The system's authorities and those of a file, and the way out: for our client and for the AWS SDK's.
pub(super) struct Trust {
    /// For ours.
    pub tls: Arc<ClientConfig>,
    /// For the SDK's; the proxies are the same for ours.
    pub egress: Egress,
}

impl Trust {
    /// Reads the file, if one is named.
    pub(super) fn read(ca_file: Option<&Path>) -> Result<Self, Failure> {
        let refused = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Class::Configuration, error, Some("name a readable PEM file with `--ca-file`"))
        };
        let tls = tls::client_config(ca_file).map_err(|error| refused(&error))?;
        let authorities = ca_file.map(std::fs::read).transpose().map_err(|error| refused(&error))?;
        let mut problems = Problems::default();
        let proxies = proxies::read(&mut problems);
        problems.none_or_all().map_err(|problems| Failure::configuration(&problems))?;
        Ok(Self { tls, egress: Egress { authorities, proxies } })
    }
}
