//! Reads the tokens again while the appliance runs, so that they are handed out and revoked without a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use secrecy::ExposeSecret as _;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::access::tokens::{self, Tokens};
use crate::api::Transport;
use crate::api::json::{self, JsonCall};
use crate::aws::credentials::Current;
use crate::backoff::Backoff;
use crate::serve::auth::{Callers, SecretPlace, TokenSource};
use crate::{clock, error_chain};

/// The wait between first attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Reads secrets from AWS.
pub(crate) struct SecretReader {
    /// How.
    pub transport: Transport,
    /// Who asks.
    pub credentials: Current,
}

impl Callers {
    /// Reads the tokens until they have been read once.
    pub(crate) async fn obtain_tokens(&self, reader: Option<&SecretReader>) {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        while self.obstacle().is_some() {
            // Credentials are obtained at the same time, and say themselves when they are not.
            let unsigned = reader.and_then(|reader| reader.credentials.with(clock::now(), |_| ()).err());
            self.without_credentials.store(unsigned.as_ref().map(|why| Arc::new(why.to_string())));
            if unsigned.is_some() {
                sleep(WAITS.0 / 10).await;
                continue;
            }
            self.reload_tokens(reader).await;
            if self.obstacle().is_some() {
                sleep(backoff.wait()).await;
            }
        }
    }

    /// Reads the tokens where they are kept. What cannot be read or used leaves the old ones in force.
    pub(crate) async fn reload_tokens(&self, reader: Option<&SecretReader>) {
        let Some(source) = &self.source else { return };
        match read(source, reader).await {
            Ok(tokens) => self.replace(tokens),
            Err(error) => {
                let count = self.tokens.load().as_ref().map(|tokens| tokens.entries().len());
                warn!(
                    still_in_force = count,
                    error,
                    hint = "correct the tokens; the appliance reloads them by itself",
                    "cannot reload the tokens; the previous ones stay in use"
                );
            }
        }
    }

    fn replace(&self, new: Tokens) {
        let old = self.tokens.load();
        let text = |tokens: &Tokens| tokens.to_string();
        if old.as_ref().is_some_and(|old| text(old) == text(&new)) {
            return;
        }
        info!(tokens = new.entries().len(), "tokens read");
        self.tokens.store(Some(Arc::new(new)));
    }
}

async fn read(source: &TokenSource, reader: Option<&SecretReader>) -> Result<Tokens, String> {
    match (source, reader) {
        (TokenSource::File(path), _) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || read_file(&path)).await.map_err(|error| error.to_string())?
        }
        (TokenSource::Secret(place), Some(reader)) => reader.read(place).await,
        (TokenSource::Secret(_), None) => Err("nobody can ask AWS".to_owned()),
    }
}

impl SecretReader {
    async fn read(&self, place: &SecretPlace) -> Result<Tokens, String> {
        let SecretPlace { secret, region, endpoint } = place;
        let (operation, input) = secret.request();
        let call = JsonCall { endpoint, region, service: secret.service(), operation, input: &input };
        let answer = json::send(call, &self.transport, &self.credentials).await;
        let (status, answer) = answer.map_err(|error| error_chain::joined(&error))?;
        let text = secret.text(status == StatusCode::OK, &answer).map_err(|error| error.to_string())?;
        Tokens::parse(text.expose_secret()).map_err(|error| format!("the secret: {error}"))
    }
}

/// Reads and checks a token file.
///
/// # Errors
/// What is wrong, with the file's name.
pub fn read_file(path: &Path) -> Result<Tokens, String> {
    use std::io::Read as _;
    let named = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    let mut text = String::new();
    let limit = tokens::SIZE_LIMIT as u64 + 1;
    file.take(limit).read_to_string(&mut text).map_err(|error| named(&error))?;
    Tokens::parse(&text).map_err(|error| named(&error))
}
