//! `server-info`: what managed MLflow says it can do, and what the gateway can.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::serve::artifacts::{Answer, Exchange};
use crate::serve::error::ProxyError;
use crate::serve::upstream::backend::Access;

/// Answers with managed MLflow's own document, as far as it has one, and with the gateway's abilities.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(exchange: &Exchange<'_>) -> Result<Answer, ProxyError> {
    let target = exchange.target;
    let mut document = match exchange.ask(target).await? {
        Ok(Value::Object(document)) => document,
        Ok(_) => return Err(ProxyError::UnreadableDocument),
        // Versions that do not know the route can still be given artifacts in parts.
        Err(response) if response.status == StatusCode::NOT_FOUND => serde_json::Map::new(),
        Err(response) => return Ok(Answer::Upstream(response)),
    };
    let access = exchange.store.access;
    for (name, value) in [
        ("multipart_uploads_enabled", access != Access::Proxied),
        ("multipart_downloads_enabled", access != Access::Proxied),
        ("artifacts_presigned_only", access == Access::PresignedOnly),
    ] {
        document.insert(name.to_owned(), json!(value));
    }
    Ok(Answer::json(&Value::Object(document)))
}
