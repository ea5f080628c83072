//! Calls of the service that keeps the tokens.

use actix_web::http::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::error::TokenSourceError;
use crate::access::tokens::Tokens;
use crate::api::json;
use crate::api::stored_secret::{SecretAccess, StoredSecret};
use crate::backoff::Backoff;

/// The most attempts of one update that others overtake.
pub(super) const ATTEMPTS: usize = 12;
/// The longest part of AWS's text that is shown.
const MESSAGE_LIMIT: usize = 400;

/// Calls of one service about one secret.
pub(super) struct SecretCalls<'a> {
    secret: &'a StoredSecret,
    access: SecretAccess<'a>,
}

impl<'a> SecretCalls<'a> {
    pub(super) fn new(secret: &'a StoredSecret, access: Option<SecretAccess<'a>>) -> Result<Self, TokenSourceError> {
        Ok(Self { secret, access: access.ok_or(TokenSourceError::NoAccess)? })
    }

    /// The name or the ARN of the secret.
    pub(super) fn name(&self) -> &str {
        self.secret.secret.name()
    }

    /// The waits between the attempts of an update.
    pub(super) fn waits() -> Backoff {
        StoredSecret::waits()
    }

    /// Reads the current tokens with the one permission that `serve` needs.
    pub(super) async fn tokens(&self) -> Result<Tokens, TokenSourceError> {
        let secret = &self.secret.secret;
        let (operation, input) = secret.request();
        let (status, answer) = self.secret.call(self.access, operation, &input).await?;
        let text = secret.text(status == StatusCode::OK, &answer)?;
        self.parsed(text.expose_secret())
    }

    /// Reads the text of a secret as tokens.
    pub(super) fn parsed(&self, text: &str) -> Result<Tokens, TokenSourceError> {
        Tokens::parse(text).map_err(|source| TokenSourceError::Invalid { name: self.name().to_owned(), source })
    }

    /// Calls an operation, such as `AmazonSSM.PutParameter`.
    pub(super) async fn ask(&self, operation: &str, input: &Value) -> Result<Value, TokenSourceError> {
        let (status, answer) = self.secret.call(self.access, operation, input).await?;
        let action = self.action(operation);
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).map_err(|_| TokenSourceError::Answer(action));
        }
        let message = json::error_message(&answer).chars().take(MESSAGE_LIMIT).collect();
        Err(TokenSourceError::Refused {
            code: json::error_code(&answer),
            message,
            action,
            name: self.name().to_owned(),
        })
    }

    /// The IAM action of an operation.
    pub(super) fn action(&self, operation: &str) -> String {
        let name = operation.rsplit('.').next().unwrap_or_default();
        format!("{}:{name}", self.secret.secret.service())
    }
}
