//! Whom the commands trust that talk to AWS's own services, by `--ca-file`.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use super::failure::{Class, Failure};
use crate::http::tls;

/// The system's authorities and those of a file, for our client and for the AWS SDK's.
pub(super) struct Trust {
    /// For ours.
    pub tls: Arc<ClientConfig>,
    /// The file as PEM text, for the SDK's.
    pub authorities: Option<Vec<u8>>,
}

impl Trust {
    /// Reads the file, if one is named.
    pub(super) fn read(ca_file: Option<&Path>) -> Result<Self, Failure> {
        let refused = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Class::Configuration, error, Some("name a readable PEM file with `--ca-file`"))
        };
        let tls = tls::client_config(ca_file).map_err(|error| refused(&error))?;
        let authorities = ca_file.map(std::fs::read).transpose().map_err(|error| refused(&error))?;
        Ok(Self { tls, authorities })
    }
}
