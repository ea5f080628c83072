//! The place of the tokens.

use std::path::PathBuf;

use crate::api::stored_secret::StoredSecret;

/// The place where the token file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file on disk; also a systemd credential.
    File(PathBuf),
    /// A secret in AWS's Parameter Store or Secrets Manager.
    Secret(StoredSecret),
}

impl TokenSource {
    /// Returns the region in which AWS keeps the tokens, if it does.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Secret(secret) => Some(&secret.region),
            Self::File(_) => None,
        }
    }
}

/// The behaviour of an update if there are no tokens in this place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMissing {
    /// The update creates the file or the secret.
    Create,
    /// The update fails.
    Fail,
}
