//! `server-info`: the abilities of managed MLflow and of the gateway.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::error::ProxyError;
use crate::serve::upstream::settings::ArtifactAccess;

/// Answers with managed MLflow's own document, if it has one, and adds the gateway's abilities.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(request: &ArtifactRequest<'_>) -> Result<ArtifactResponse, ProxyError> {
    let path_and_query = request.path_and_query;
    let mut document = match request.ask(path_and_query).await? {
        Ok(Value::Object(document)) => document,
        Ok(_) => return Err(ProxyError::UnreadableDocument),
        // Versions of MLflow without this route still accept uploads in parts.
        Err(response) if response.status == StatusCode::NOT_FOUND => serde_json::Map::new(),
        Err(response) => return Ok(ArtifactResponse::Upstream(response)),
    };
    let access = request.s3.access;
    for (name, value) in [
        ("multipart_uploads_enabled", access != ArtifactAccess::Proxied),
        ("multipart_downloads_enabled", access != ArtifactAccess::Proxied),
        ("artifacts_presigned_only", access == ArtifactAccess::PresignedOnly),
    ] {
        document.insert(name.to_owned(), json!(value));
    }
    Ok(ArtifactResponse::json(&Value::Object(document)))
}
