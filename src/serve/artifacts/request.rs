//! What the gateway reads of a request: query parameters and small JSON documents.

use actix_web::web;
use serde::de::DeserializeOwned;

use super::super::aside::aside;
use super::super::refusal::Refusal;
use super::Exchange;
use crate::http::body::{Intake, receive};
use crate::http::client::Response;
use crate::mlflow::store::ArtifactPath;

/// A document that names at most 10,000 parts, each with its tag and its presigned URL. Bytes.
const DOCUMENT_LIMIT: u64 = 32 << 20;

/// A query parameter of a target in normal form, decoded.
///
/// # Errors
/// [`Refusal::Artifact`] if it is no UTF-8.
pub(super) fn parameter(target: &str, name: &str) -> Result<Option<String>, Refusal> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let Some((_, value)) = value else { return Ok(None) };
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    decoded.map(|value| Some(value.into_owned())).map_err(|_| Refusal::Artifact("a parameter is not UTF-8".into()))
}

/// The value of a parameter that has to be there.
///
/// # Errors
/// [`Refusal::Artifact`].
pub(super) fn required(target: &str, name: &str) -> Result<String, Refusal> {
    parameter(target, name)?.ok_or_else(|| Refusal::Artifact(format!("the parameter `{name}` is missing")))
}

/// A path given as a parameter, or the root.
///
/// # Errors
/// [`Refusal`].
pub(super) fn path(target: &str, name: &str) -> Result<ArtifactPath, Refusal> {
    Ok(ArtifactPath::parse(&parameter(target, name)?.unwrap_or_default())?)
}

/// A path that names something.
///
/// # Errors
/// [`Refusal`].
pub(super) fn named(path: ArtifactPath) -> Result<ArtifactPath, Refusal> {
    if path.is_root() { Err(Refusal::Artifact("the artifact has no name".into())) } else { Ok(path) }
}

/// Reads a JSON document from the body.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn document<T: DeserializeOwned + Send + 'static>(
    exchange: &mut Exchange<'_>,
    payload: web::Payload,
) -> Result<T, Refusal> {
    let intake = Intake { size_limit: DOCUMENT_LIMIT, memory_limit: DOCUMENT_LIMIT, ..exchange.intake.clone() };
    let received = receive(payload, None, &intake, &exchange.record.account()).await?;
    exchange.record.received = received.len;
    let bytes = received.body.bytes().ok_or(Refusal::Busy)?.clone();
    // The body keeps its share of the memory until the document has been read.
    aside(bytes.len(), move || serde_json::from_slice(&bytes))
        .await?
        .map_err(|error| Refusal::Artifact(format!("the document is not as expected: {error}")))
}

/// The beginning of a response's body as text.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn text(response: Response, limit: usize) -> Result<String, Refusal> {
    let bytes = response.body.collect(limit).await.map_err(Refusal::Document)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
