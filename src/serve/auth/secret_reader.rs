//! Reads secrets that AWS stores, with the machine's own credentials.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::SecretString;
use tokio::time::sleep;
use tracing::error;

use crate::api::Transport;
use crate::api::stored_secret::{SecretAccess, StoredSecret, StoredSecretError};
use crate::aws::credentials::CurrentCredentials;
use crate::backoff::Backoff;
use crate::error_chain;

/// The longest first wait and the longest wait of all between attempts to read a secret at the start.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The time between two looks for credentials at the start.
const CREDENTIALS_PAUSE: Duration = Duration::from_millis(100);

/// Reads secrets from AWS.
pub(crate) struct SecretReader {
    /// The connections to AWS.
    pub transport: Transport,
    /// The credentials that sign the requests.
    pub credentials: CurrentCredentials,
}

/// The text of a secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct UnusableSecret {
    /// The problem, without the secret.
    pub text: String,
    /// The fix, as an instruction.
    pub hint: &'static str,
}

/// The reason why a value of a secret is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretObstacle {
    #[error(transparent)]
    Unread(#[from] StoredSecretError),
    #[error(transparent)]
    Unusable(#[from] UnusableSecret),
}

impl SecretObstacle {
    /// Returns the fix, as an instruction.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unread(error) => error.hint(),
            Self::Unusable(error) => error.hint,
        }
    }
}

impl SecretReader {
    /// The means to call AWS, for reading and for changing secrets.
    pub(crate) fn access(&self) -> SecretAccess<'_> {
        SecretAccess { transport: &self.transport, credentials: &self.credentials }
    }

    /// Waits until there are credentials. Another task obtains them, and logs why it cannot. Meanwhile `note` gets the reason.
    pub(crate) async fn signed(&self, note: impl Fn(String)) {
        while let Err(why) = self.credentials.check() {
            note(why.to_string());
            sleep(CREDENTIALS_PAUSE).await;
        }
    }

    /// Reads a secret, and makes a value of its text.
    ///
    /// # Errors
    /// [`SecretObstacle`].
    pub(crate) async fn read<T>(
        &self,
        secret: &StoredSecret,
        make: impl Fn(&SecretString) -> Result<T, UnusableSecret>,
    ) -> Result<T, SecretObstacle> {
        let text = secret.text(self.access()).await?;
        Ok(make(&text)?)
    }

    /// Reads a secret, and retries until a value can be made of its text. `option` names it in the log, and `obstacle` has the
    /// reason of the last failure meanwhile.
    pub(crate) async fn obtain<T>(
        &self,
        secret: &StoredSecret,
        (option, obstacle): (&str, &ArcSwapOption<String>),
        make: impl Fn(&SecretString) -> Result<T, UnusableSecret>,
    ) -> T {
        let mut backoff = BACKOFF;
        loop {
            // Another task obtains the credentials, and logs why it cannot.
            self.signed(|why| obstacle.store(Some(Arc::new(why)))).await;
            match self.read(secret, &make).await {
                Ok(value) => {
                    obstacle.store(None);
                    return value;
                }
                Err(failure) => {
                    let (error, hint) = (error_chain::joined(&failure), failure.hint());
                    error!(option, error, hint, "cannot use a secret that AWS stores; the appliance retries");
                    // SECURITY: `readyz` shows it to clients, and the error names the secret.
                    obstacle.store(Some(Arc::new("the log has the reason".to_owned())));
                }
            }
            sleep(backoff.wait()).await;
        }
    }
}
