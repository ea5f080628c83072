//! The place where the access tokens are kept, and how they are read and changed there.
//!
//! [`update`] loses no change of another writer. Its promise depends on the place: a file has a lock; Secrets Manager moves
//! its label `AWSCURRENT` only from the version that was read; the Parameter Store can do neither, so a writer there finds
//! out afterwards that it has overwritten another writer's change, and repairs that.

mod calls;
mod error;
mod file;
mod parameter_store;
mod patch;
mod secrets_manager;
mod source;

pub use self::error::{TokenSourceError, UpdateError};
use self::file::read_file_again;
pub use self::file::{check_writable, read_file};
pub use self::source::{TokenSource, WhenMissing};

use self::calls::SecretCalls;
use crate::access::tokens::Tokens;
use crate::api::stored_secret::SecretAccess;
use crate::aws::secret::Keeper;

/// Reads the tokens.
///
/// # Errors
/// [`TokenSourceError`].
pub async fn read(source: &TokenSource, access: Option<SecretAccess<'_>>) -> Result<Tokens, TokenSourceError> {
    match source {
        TokenSource::File(path) => {
            let path = path.clone();
            let task = tokio::task::spawn_blocking(move || read_file_again(&path));
            task.await.unwrap_or_else(|error| Err(TokenSourceError::Unreadable(error.to_string())))
        }
        TokenSource::Secret(secret) => SecretCalls::new(secret, access)?.tokens().await,
    }
}

/// Changes the tokens, and keeps what others change at the same time.
///
/// `edit` may be called again with other tokens, if another writer was faster. If it fails, nothing is written.
///
/// # Errors
/// [`UpdateError::Edit`] of `edit`, or [`UpdateError::Source`].
pub async fn update<T, E>(
    source: &TokenSource,
    access: Option<SecretAccess<'_>>,
    missing: WhenMissing,
    mut edit: impl FnMut(&mut Tokens) -> Result<T, E> + Send + 'static,
) -> Result<T, UpdateError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    match source {
        TokenSource::File(path) => {
            let path = path.clone();
            let task = tokio::task::spawn_blocking(move || file::update(&path, missing, edit));
            task.await.unwrap_or_else(|error| Err(TokenSourceError::Unreadable(error.to_string()).into()))
        }
        TokenSource::Secret(secret) => {
            let calls = SecretCalls::new(secret, access)?;
            match secret.secret.keeper() {
                Keeper::ParameterStore => parameter_store::update(&calls, missing, &mut edit).await,
                Keeper::SecretsManager => secrets_manager::update(&calls, missing, &mut edit).await,
            }
        }
    }
}
