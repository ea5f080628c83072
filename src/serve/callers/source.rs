//! Reads the tokens again while the appliance runs, so that they are handed out and revoked without a restart.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::{Callers, TokenSource};
use crate::access::tokens::{self, Tokens};

impl Callers {
    /// Reads the tokens where they are kept. What cannot be read or used leaves the old ones in force.
    pub(in crate::serve) async fn reload_tokens(&self) {
        let Some(source) = &self.source else { return };
        match read(source).await {
            Ok(tokens) => self.replace(tokens),
            Err(error) => {
                let count = self.tokens.load().as_ref().map(|tokens| tokens.entries().len());
                warn!(
                    still_in_force = count,
                    error,
                    hint = "correct it; it is read again by itself",
                    "tokens not read"
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

async fn read(source: &TokenSource) -> Result<Tokens, String> {
    match source {
        TokenSource::File(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || read_file(&path)).await.map_err(|error| error.to_string())?
        }
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
