//! Secrets that AWS stores: where one is, and how its text is read, with retries where AWS asks for them.

use std::time::Duration;

use actix_web::http::StatusCode;
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::sleep;

use super::error::ApiError;
use super::json::{self, JsonCall};
use super::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::secret::{Keeper, Secret, SecretError};
use crate::backoff::Backoff;
use crate::http::client::Endpoint;

/// The most attempts of one call that AWS throttles.
const ATTEMPTS: usize = 12;
/// The longest first wait, and the longest of all.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// A secret that AWS stores, and the service to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret.
    pub secret: Secret,
    /// The region of the service.
    pub region: String,
    /// The endpoint of the service.
    pub endpoint: Endpoint,
}

/// The means to call AWS.
#[derive(Clone, Copy)]
pub struct SecretAccess<'a> {
    /// The connections to AWS.
    pub transport: &'a Transport,
    /// The credentials that sign the requests.
    pub credentials: &'a CurrentCredentials,
}

/// The reason why the text of a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredSecretError {
    /// AWS did not answer.
    #[error("AWS did not answer about the secret `{name}`")]
    Unanswered {
        /// The secret.
        name: String,
        /// The cause.
        source: ApiError,
    },
    /// AWS's answer has no text.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl StoredSecret {
    /// The name of the service that keeps it, for people.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self.secret.keeper() {
            Keeper::ParameterStore => "AWS Parameter Store",
            Keeper::SecretsManager => "AWS Secrets Manager",
        }
    }

    /// The waits before another attempt.
    #[must_use]
    pub fn waits() -> Backoff {
        BACKOFF
    }

    /// Reads the current text.
    ///
    /// # Errors
    /// [`StoredSecretError`].
    pub async fn text(&self, access: SecretAccess<'_>) -> Result<SecretString, StoredSecretError> {
        let (operation, input) = self.secret.request();
        let answer = self.call(access, operation, &input).await;
        let named = |source| StoredSecretError::Unanswered { name: self.secret.name().to_owned(), source };
        let (status, answer) = answer.map_err(named)?;
        Ok(self.secret.text(status == StatusCode::OK, &answer)?)
    }

    /// Calls an operation, such as `AmazonSSM.PutParameter`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call(
        &self,
        access: SecretAccess<'_>,
        operation: &str,
        input: &Value,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let Self { secret, region, endpoint } = self;
        let mut waits = Self::waits();
        let mut attempt = 1;
        loop {
            let call = JsonCall { endpoint, region, service: secret.service(), operation, input };
            let (status, answer) = json::send(call, access.transport, access.credentials).await?;
            if attempt >= ATTEMPTS || !is_temporary(status, &answer) {
                return Ok((status, answer));
            }
            attempt += 1;
            sleep(waits.wait()).await;
        }
    }
}

impl StoredSecretError {
    /// The fix, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unanswered { .. } => "check the credentials, and the network between here and AWS",
            Self::Secret(SecretError::Refused { code, .. }) => match code.as_str() {
                "ResourceNotFoundException" | "ParameterNotFound" => {
                    "create the secret, or correct its name, its region or the account"
                }
                "AccessDeniedException" => "allow the action in the policy of the appliance's role or user",
                _ => {
                    "allow the action in the policy of the appliance's role or user, and check name, region and account"
                }
            },
            Self::Secret(SecretError::NoText(_)) => "store the value as a text; a binary value cannot be used",
        }
    }
}

/// True if AWS asks for a retry. Each of our changes may be sent twice: a version has a name of its own, or its number tells.
fn is_temporary(status: StatusCode, answer: &[u8]) -> bool {
    let code = json::error_code(answer);
    status.is_server_error()
        || (status.is_client_error() && (code.starts_with("Throttling") || code == "TooManyUpdates"))
}
