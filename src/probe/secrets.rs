//! Reads a secret that AWS stores, as `serve` will, and names the missing permission.

use secrecy::ExposeSecret as _;

use super::finding::Finding;
use super::settings::ProbedSecret;
use crate::api::Transport;
use crate::api::stored_secret::SecretAccess;
use crate::aws::credentials::CurrentCredentials;
use crate::error_chain;

pub(super) const CHECK: &str = "secret";

/// Probes one secret.
pub(super) async fn probe(secret: &ProbedSecret, transport: &Transport, credentials: &CurrentCredentials) -> Finding {
    let ProbedSecret { option, stored, least } = secret;
    match stored.text(SecretAccess { transport, credentials }).await {
        Ok(text) if text.expose_secret().len() < *least => {
            let text = format!("the text has only {} bytes, and {least} are needed", text.expose_secret().len());
            Finding::failure(CHECK, option, text, "store a longer random text, as of `openssl rand -base64 48`")
        }
        Ok(_) => Finding::ok(CHECK, option, format!("`{}` can be read from {}", stored.secret.name(), stored.place())),
        Err(error) => Finding::failure(CHECK, option, error_chain::joined(&error), error.hint()),
    }
}
