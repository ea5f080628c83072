//! The tokens that are in force, and their reload: operators add and revoke tokens without a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use arc_swap::ArcSwapOption;
use secrecy::ExposeSecret as _;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::access::caller::{AuthMethod, Caller};
use crate::access::tokens::{self, Rejected, Tokens};
use crate::api::Transport;
use crate::api::json::{self, JsonCall};
use crate::aws::credentials::Current;
use crate::backoff::Backoff;
use crate::serve::auth::error::{AccessError, TokensUnknown};
use crate::serve::auth::settings::{TokenSecret, TokenSettings, TokenSource};
use crate::{clock, error_chain};

/// The longest first wait and the longest wait of all between attempts to read the tokens at the start.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The tokens of all workers.
pub(crate) struct TokenStore {
    source: Option<TokenSource>,
    /// Empty until the tokens have been read.
    tokens: ArcSwapOption<Tokens>,
    /// The reason why there are no credentials to read them with, if there are none.
    without_credentials: ArcSwapOption<String>,
}

/// Reads secrets from AWS.
pub(crate) struct SecretReader {
    /// The connections to AWS.
    pub transport: Transport,
    /// The credentials that sign the requests.
    pub credentials: Current,
}

impl TokenStore {
    /// Returns a store with the tokens that were read at the start.
    #[must_use]
    pub(crate) fn new(settings: Option<TokenSettings>) -> Self {
        let (source, initial) =
            settings.map_or((None, None), |tokens| (Some(tokens.source), tokens.initial.map(Into::into)));
        Self { source, tokens: ArcSwapOption::new(initial), without_credentials: ArcSwapOption::empty() }
    }

    /// Returns true if callers authenticate with tokens, so that a person with a browser can sign in.
    #[must_use]
    pub(crate) fn is_configured(&self) -> bool {
        self.source.is_some()
    }

    /// Returns the region in which AWS keeps the tokens, if it does.
    #[must_use]
    pub(crate) fn region(&self) -> Option<&str> {
        match &self.source {
            Some(TokenSource::Secret(secret)) => Some(&secret.region),
            _ => None,
        }
    }

    /// Returns the reason why the appliance cannot accept tokens at the moment, if there is one.
    #[must_use]
    pub(crate) fn obstacle(&self) -> Option<TokensUnknown> {
        (self.is_configured() && self.tokens.load().is_none()).then(|| self.unknown())
    }

    fn unknown(&self) -> TokensUnknown {
        TokensUnknown(self.without_credentials.load_full())
    }

    /// Returns the holder of a token.
    ///
    /// # Errors
    /// [`AccessError::Token`] or [`AccessError::TokensUnknown`].
    pub(crate) fn holder(&self, token: &str, now: SystemTime) -> Result<Caller, AccessError> {
        if !self.is_configured() {
            return Err(Rejected::Unknown.into());
        }
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        Ok(tokens.find(token, now)?.caller(AuthMethod::Token))
    }

    /// Returns the holder of the token with this id, for a session. Returns nothing if the token has been revoked or has expired.
    ///
    /// # Errors
    /// [`AccessError::TokensUnknown`].
    pub(crate) fn session_holder(&self, id: &str, now: SystemTime) -> Result<Option<Caller>, AccessError> {
        if !self.is_configured() {
            return Ok(None);
        }
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        Ok(tokens.by_id(id, now).ok().map(|entry| entry.caller(AuthMethod::Session)))
    }

    /// Reads the tokens, and retries until that has succeeded once.
    pub(crate) async fn obtain(&self, reader: Option<&SecretReader>) {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        while self.obstacle().is_some() {
            // Another task obtains the credentials, and logs why it cannot.
            let unsigned = reader.and_then(|reader| reader.credentials.with(clock::now(), |_| ()).err());
            self.without_credentials.store(unsigned.as_ref().map(|why| Arc::new(why.to_string())));
            if unsigned.is_some() {
                sleep(WAITS.0 / 10).await;
                continue;
            }
            self.reload(reader).await;
            if self.obstacle().is_some() {
                sleep(backoff.wait()).await;
            }
        }
    }

    /// Reloads the tokens. If the appliance cannot read or use the new ones, the old ones stay in force.
    pub(crate) async fn reload(&self, reader: Option<&SecretReader>) {
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
        (TokenSource::Secret(secret), Some(reader)) => reader.read(secret).await,
        (TokenSource::Secret(_), None) => Err("there is no way to ask AWS".to_owned()),
    }
}

impl SecretReader {
    async fn read(&self, secret: &TokenSecret) -> Result<Tokens, String> {
        let TokenSecret { secret, region, endpoint } = secret;
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
/// A message that names the file and the problem.
pub fn read_file(path: &Path) -> Result<Tokens, String> {
    use std::io::Read as _;
    let named = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    let mut text = String::new();
    let limit = tokens::SIZE_LIMIT as u64 + 1;
    file.take(limit).read_to_string(&mut text).map_err(|error| named(&error))?;
    Tokens::parse(&text).map_err(|error| named(&error))
}
