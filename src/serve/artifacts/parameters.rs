//! The query parameters and the small JSON documents of requests to the gateway.

use actix_web::web;
use serde::de::DeserializeOwned;

use crate::http::body::{Body, BodyLimits, buffer};
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::request::ArtifactRequest;
use crate::serve::error::ProxyError;
use crate::serve::offload::offload;

/// The limit of a document that names at most 10,000 parts, each with its tag and its presigned URL. Bytes.
const DOCUMENT_LIMIT: u64 = 32 << 20;

/// Returns a query parameter of a path and query in normal form, decoded.
///
/// # Errors
/// [`ProxyError::Artifact`] if it is not UTF-8.
pub(crate) fn parameter(path_and_query: &str, name: &str) -> Result<Option<String>, ProxyError> {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let Some((_, value)) = value else { return Ok(None) };
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    decoded.map(|value| Some(value.into_owned())).map_err(|_| ProxyError::Artifact("a parameter is not UTF-8".into()))
}

/// Returns the value of a required parameter.
///
/// # Errors
/// [`ProxyError::Artifact`].
pub(crate) fn required(path_and_query: &str, name: &str) -> Result<String, ProxyError> {
    parameter(path_and_query, name)?.ok_or_else(|| ProxyError::Artifact(format!("the parameter `{name}` is missing")))
}

/// Returns the path in a parameter, or the root.
///
/// # Errors
/// [`ProxyError`].
pub(crate) fn path(path_and_query: &str, name: &str) -> Result<ArtifactPath, ProxyError> {
    Ok(ArtifactPath::parse(&parameter(path_and_query, name)?.unwrap_or_default())?)
}

/// Returns a path that is not the root.
///
/// # Errors
/// [`ProxyError`].
pub(crate) fn named(path: ArtifactPath) -> Result<ArtifactPath, ProxyError> {
    if path.is_root() { Err(ProxyError::Artifact("the artifact has no name".into())) } else { Ok(path) }
}

/// Reads a JSON document from the body.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn document<T: DeserializeOwned + Send + 'static>(
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
) -> Result<T, ProxyError> {
    let limits = BodyLimits { size_limit: DOCUMENT_LIMIT, memory_limit: DOCUMENT_LIMIT, ..request.body_limits.clone() };
    let received = buffer(payload, None, &limits, &request.context.permits.body_owner()).await?;
    request.context.log.received(received.len, None);
    // The body counts against the memory budget until the document is parsed. Its memory is released where that happens: it is
    // many pages for the kernel to take back.
    let Body::Memory(bytes, _reservation) = received.body else { return Err(ProxyError::MemoryOverBudget) };
    offload(bytes.len(), move || serde_json::from_slice(&bytes))
        .await?
        .map_err(|error| ProxyError::Artifact(format!("the document is not as expected: {error}")))
}
