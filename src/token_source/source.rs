//! The place of the tokens, and the means to reach it.

use std::path::PathBuf;

use crate::api::Transport;
use crate::aws::credentials::Current;
use crate::aws::secret::Secret;
use crate::http::client::Endpoint;

/// The place where the token file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file on disk; also a systemd credential.
    File(PathBuf),
    /// A secret in AWS's Parameter Store or Secrets Manager.
    Secret(TokenSecret),
}

/// A secret that AWS keeps, and the service to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSecret {
    /// The secret.
    pub secret: Secret,
    /// The region of the service.
    pub region: String,
    /// The endpoint of the service.
    pub endpoint: Endpoint,
}

/// The means to call AWS. A file needs none.
#[derive(Clone, Copy)]
pub struct SecretAccess<'a> {
    /// The connections to AWS.
    pub transport: &'a Transport,
    /// The credentials that sign the requests.
    pub credentials: &'a Current,
}

/// What an update does if there are no tokens in this place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMissing {
    /// It creates the file or the secret.
    Create,
    /// It fails.
    Fail,
}
