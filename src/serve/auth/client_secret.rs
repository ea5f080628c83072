//! The secret of the appliance's client at an identity provider: a file has it, or AWS stores it.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::{info, warn};

use crate::api::stored_secret::StoredSecret;
use crate::serve::auth::secret_reader::{SecretReader, UnusableSecret};
use crate::serve::auth::settings::ClientSecretSource;
use crate::serve::auth::sign_on::error::SignOnError;
use crate::{error_chain, regular_file};

/// The longest secret. Bytes.
const SECRET_LIMIT: u64 = 4096;

/// The secret of one client, if it has one.
pub(crate) struct ClientSecret {
    source: Option<ClientSecretSource>,
    /// The secret that AWS stores, once it has been read.
    stored: ArcSwapOption<SecretString>,
    /// The reason why it has not been read yet.
    obstacle: ArcSwapOption<String>,
}

impl ClientSecret {
    /// Returns the secret of this source.
    pub(crate) fn new(source: Option<ClientSecretSource>) -> Self {
        Self { source, stored: ArcSwapOption::empty(), obstacle: ArcSwapOption::empty() }
    }

    /// Returns the place in AWS, if AWS stores the secret.
    pub(crate) fn place(&self) -> Option<&StoredSecret> {
        match &self.source {
            Some(ClientSecretSource::Stored(place)) => Some(place),
            _ => None,
        }
    }

    /// Checks that the secret has been read, if AWS stores it.
    ///
    /// # Errors
    /// [`SignOnError::SecretUnknown`].
    pub(crate) fn check(&self) -> Result<(), SignOnError> {
        if self.place().is_some() && self.stored.load().is_none() {
            return Err(SignOnError::SecretUnknown(self.obstacle.load_full()));
        }
        Ok(())
    }

    /// Returns the secret; nothing if the client has none.
    ///
    /// # Errors
    /// [`SignOnError::SecretUnknown`] and [`SignOnError::Secret`].
    pub(crate) async fn current(&self) -> Result<Option<SecretString>, SignOnError> {
        self.check()?;
        match &self.source {
            // It is read each time, so that a new secret needs no restart, and is in memory only for a moment.
            Some(ClientSecretSource::File(path)) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file_again(&path)).await;
                read.unwrap_or_else(|error| Err(error.to_string())).map(Some).map_err(SignOnError::Secret)
            }
            Some(ClientSecretSource::Stored(_)) => Ok(self.stored.load().as_deref().cloned()),
            None => Ok(None),
        }
    }

    /// Reads the secret that AWS stores, and retries until that has succeeded. `issuer` is the issuer's name for the log.
    pub(crate) async fn obtain(&self, issuer: &str, reader: &SecretReader) {
        let Some(place) = self.place() else { return };
        let option = format!("client-secret of the issuer `{issuer}`");
        let secret = reader.obtain(place, (&option, &self.obstacle), |text| usable(place, text)).await;
        self.stored.store(Some(Arc::new(secret)));
        info!(issuer, place = place.place(), "the client secret was read");
    }

    /// Reads the secret again. If that fails, the previous one stays in use.
    pub(crate) async fn reload(&self, issuer: &str, reader: &SecretReader) {
        let Some(place) = self.place() else { return };
        match reader.read(place, |text| usable(place, text)).await {
            Ok(secret) => {
                let old = self.stored.load();
                if old.as_ref().is_none_or(|old| old.expose_secret() != secret.expose_secret()) {
                    self.stored.store(Some(Arc::new(secret)));
                    info!(issuer, "the client secret has changed, and the new one is in use");
                }
            }
            Err(failure) => {
                let (error, hint) = (error_chain::joined(&failure), failure.hint());
                warn!(issuer, error, hint, "cannot reload the client secret; the previous one stays in use");
            }
        }
    }
}

/// Reads the secret of a client from a file, without the line break at its end.
///
/// # Errors
/// A message that names the file and the problem.
pub fn read_file(path: &Path) -> Result<SecretString, String> {
    use std::io::Read as _;
    let named = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    let mut text = String::new();
    file.take(SECRET_LIMIT + 1).read_to_string(&mut text).map_err(|error| named(&error))?;
    trimmed(&text).map_err(|problem| named(&problem))
}

/// Reads the secret of a client from a file that may have been replaced by anything.
fn read_file_again(path: &Path) -> Result<SecretString, String> {
    regular_file::check(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    read_file(path)
}

/// Returns the secret in a text that AWS stores.
fn usable(place: &StoredSecret, text: &SecretString) -> Result<SecretString, UnusableSecret> {
    trimmed(text.expose_secret()).map_err(|problem| UnusableSecret {
        text: format!("`{}`: {problem}", place.secret.name()),
        hint: "store the secret of the client as the identity provider shows it, and nothing else",
    })
}

/// Returns the text without the line break at its end.
fn trimmed(text: &str) -> Result<SecretString, &'static str> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty"),
        secret if secret.len() as u64 > SECRET_LIMIT => Err("it is longer than 4096 bytes"),
        secret => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_line_break_at_its_end_and_a_limit() {
        let shown = |text: &str| trimmed(text).map(|secret| secret.expose_secret().to_owned());
        assert_eq!(shown("a b\r\n").as_deref(), Ok("a b"));
        assert_eq!(shown("\n"), Err("it is empty"));
        assert_eq!(shown(&"x".repeat(4097)), Err("it is longer than 4096 bytes"));
        assert_eq!(shown(&"x".repeat(4096)).map(|text| text.len()), Ok(4096));
    }
}
