//! The tokens that are in force, and their reload: operators add and revoke tokens without a restart.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::access::caller::{AuthMethod, Caller, Role, Targets};
use crate::access::personal;
use crate::access::tokens::{TokenRejection, Tokens};
use crate::error_chain;
use crate::serve::auth::error::{AccessError, TokensUnknown};
use crate::serve::auth::secret_reader::{BACKOFF, SecretReader};
use crate::serve::auth::settings::TokenSettings;
use crate::token_source::{self, TokenSource};

/// The tokens of all workers.
pub(crate) struct TokenStore {
    /// The place of the tokens, if callers authenticate with any.
    pub(crate) source: Option<TokenSource>,
    /// Empty until the tokens have been read.
    tokens: ArcSwapOption<Tokens>,
    /// The reason why there are no credentials to read them with, if there are none.
    without_credentials: ArcSwapOption<String>,
}

impl TokenStore {
    /// Returns a store with the tokens that were read at the start.
    pub(crate) fn new(settings: Option<TokenSettings>) -> Self {
        let (source, initial) =
            settings.map_or((None, None), |tokens| (Some(tokens.source), tokens.initial.map(Into::into)));
        Self { source, tokens: ArcSwapOption::new(initial), without_credentials: ArcSwapOption::empty() }
    }

    /// Returns true if callers authenticate with tokens, so that a person with a browser can sign in.
    pub(crate) fn is_configured(&self) -> bool {
        self.source.is_some()
    }

    /// Returns the tokens that are in force, once they have been read.
    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.load_full()
    }

    /// Returns the reason why the appliance cannot accept tokens at the moment, if there is one.
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
            return Err(TokenRejection::Unknown.into());
        }
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        let entry = tokens.find(token, now)?;
        // SECURITY: here nothing would limit a personal token to the rights of its owner.
        if entry.personal.is_some() {
            return Err(TokenRejection::Unknown.into());
        }
        Ok(entry.caller(AuthMethod::Token))
    }

    /// Returns the holder of the token with this id, for a session, and the end of the token if it has one. Returns nothing if
    /// the token has been revoked or has expired.
    ///
    /// # Errors
    /// [`AccessError::TokensUnknown`].
    pub(crate) fn session_holder(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Option<(Caller, Option<SystemTime>)>, AccessError> {
        if !self.is_configured() {
            return Ok(None);
        }
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        Ok(tokens.by_id(id, now).ok().map(|entry| (entry.caller(AuthMethod::Session), entry.expires)))
    }

    /// Returns the rights of the person with this name, who signs in with tokens.
    ///
    /// # Errors
    /// [`TokenRejection::Owner`] if the person has no valid token any more.
    pub(crate) fn rights(&self, name: &str, now: SystemTime) -> Result<(Role, Targets), TokenRejection> {
        let tokens = self.tokens.load();
        let rights = tokens.as_ref().and_then(|tokens| personal::rights_by_tokens(tokens, name, now));
        rights.map(|(role, targets)| (role, targets.clone())).ok_or(TokenRejection::Owner)
    }

    /// Reads the tokens, and retries until that has succeeded once.
    pub(crate) async fn obtain(&self, reader: Option<&SecretReader>) {
        let mut backoff = BACKOFF;
        while self.obstacle().is_some() {
            if let Some(reader) = reader {
                reader.signed(|why| self.without_credentials.store(Some(Arc::new(why)))).await;
                self.without_credentials.store(None);
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
        let access = reader.map(SecretReader::access);
        match token_source::read(source, access).await.map_err(|error| error_chain::joined(&error)) {
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
        if self.tokens.load().as_ref().is_some_and(|old| old.entries() == new.entries()) {
            return;
        }
        info!(tokens = new.entries().len(), "the tokens were read");
        self.tokens.store(Some(Arc::new(new)));
    }
}
