//! The place that `token --file` names: a file, or a secret that AWS keeps.

use super::aws_connection::{AwsArguments, AwsConnection};
use super::command_error::{CommandError, ExitClass};
use super::secrets::located;
use crate::access::tokens::Tokens;
use crate::api::stored_secret::SecretAccess;
use crate::aws::secret::Secret;
use crate::token_source::{self, TokenSource, TokenSourceError, UpdateError, WhenMissing};

/// The place of the tokens, and the means to reach it.
pub(super) struct TokenPlace {
    source: TokenSource,
    connection: Option<AwsConnection>,
}

impl TokenPlace {
    /// Reads the value of `--file`, and connects to AWS if that keeps the tokens.
    pub(super) async fn open(text: &str, aws: &AwsArguments) -> Result<Self, CommandError> {
        let is_elsewhere = ["credential:", "ssm:", "secretsmanager:"].iter().any(|prefix| text.starts_with(prefix));
        let Some(secret) = Secret::parse(text) else {
            if is_elsewhere {
                let (what, hint) = if text.starts_with("credential:") {
                    ("systemd passes this credential only to its unit", "name the file that the unit loads")
                } else {
                    (
                        "the name of the secret is invalid",
                        "write `ssm:NAME`, or `secretsmanager:` with a name or an ARN",
                    )
                };
                let text = format!("`--file {}`: {what}", text.escape_debug());
                return Err(CommandError::of(ExitClass::Usage, &text, Some(hint)));
            }
            return Ok(Self { source: TokenSource::File(text.into()), connection: None });
        };
        let region = match secret.own_region() {
            Some(region) => region.to_owned(),
            None => aws.region().await?,
        };
        let secret = located(secret, &region).map_err(|what| {
            CommandError::of(ExitClass::Configuration, &what, Some("write `https://host` or `https://host:port`"))
        })?;
        let connection = aws.connect(&secret.region, &secret.endpoint).await?;
        Ok(Self { source: TokenSource::Secret(secret), connection: Some(connection) })
    }

    fn access(&self) -> Option<SecretAccess<'_>> {
        let connection = self.connection.as_ref()?;
        Some(SecretAccess { transport: &connection.transport, credentials: &connection.credentials })
    }

    /// Reads the tokens.
    pub(super) async fn read(&self) -> Result<Tokens, CommandError> {
        token_source::read(&self.source, self.access()).await.map_err(|error| explained(&error))
    }

    /// Changes the tokens.
    pub(super) async fn update<T: Send + 'static>(
        &self,
        missing: WhenMissing,
        edit: impl FnMut(&mut Tokens) -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        token_source::update(&self.source, self.access(), missing, edit).await.map_err(|error| match error {
            UpdateError::Edit(error) => error,
            UpdateError::Source(error) => explained(&error),
        })
    }
}

fn explained(error: &TokenSourceError) -> CommandError {
    let class = match error {
        TokenSourceError::Unreadable(_) | TokenSourceError::Invalid { .. } => ExitClass::Configuration,
        _ => ExitClass::Failed,
    };
    CommandError::new(class, error, Some(&error.hint()))
}
