//! Buffer or stream: makes the body ready to be sent. A buffered body is hashed and its locations are translated; a streamed
//! body is neither.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::error::PayloadError;
use actix_web::http::{Version, header};
use actix_web::web;
use bytes::Bytes;
use futures_util::Stream;

use crate::aws::sigv4::{EMPTY_SHA256, UNSIGNED_PAYLOAD};
use crate::http::body::{Body, StreamingBody, buffer};
use crate::http::fields::Fields;
use crate::http::headers;
use crate::mlflow::json_paths::JsonPaths;
use crate::mlflow::locations;
use crate::serve::artifacts::{spans, translate};
use crate::serve::error::ProxyError;
use crate::serve::pipeline::gateway::Prepared;
use crate::serve::pipeline::route::Routed;
use crate::serve::pipeline::scope::RequestScope;
use crate::serve::upstream::s3::S3Client;

/// A request that is ready to be signed and sent.
pub(super) struct ReadyRequest<'a> {
    pub prepared: &'a Prepared<'a>,
    /// The header fields that cross.
    pub fields: Fields,
    pub body: Body,
    /// The body's hash in hex, or the word for a body without one.
    pub sha256: Cow<'static, str>,
    /// The places of artifact locations in the response.
    pub places: JsonPaths,
}

/// Makes the body ready, once the upstream has room for the request.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn buffer_or_stream<'a>(
    prepared: &'a Prepared<'a>,
    payload: web::Payload,
) -> Result<ReadyRequest<'a>, ProxyError> {
    let Routed { scope, upstream, path, query, .. } = &prepared.authorized.routed;
    let is_graphql = prepared.store.is_some() && locations::is_graphql(path.as_str());
    let mut fields = headers::for_upstream(scope.request.headers());
    if fields.iter().filter(|(name, _)| *name == header::CONTENT_TYPE).count() > 1 {
        return Err(ProxyError::RepeatedContentType);
    }
    if is_graphql || !prepared.locations.response.is_empty() {
        headers::ask_for_identity(&mut fields);
    }
    if !upstream.in_flight.has_room() {
        return Err(ProxyError::Overloaded);
    }
    upstream.connections.callers.check(scope.context.permits.caller_key())?;
    let depends_on_document = prepared.authorized.depends_on_document();
    let depends_on_spans = prepared.depends_on_spans();
    let body_limits = &scope.worker.api_body_limits;
    let (body, sha256) = match &prepared.store {
        Some(store) if !prepared.locations.request.is_empty() => Box::pin(translated(prepared, store, payload)).await?,
        _ if !depends_on_document
            && !depends_on_spans
            && let Some(length) = body_limits.streamed_length(scope.header_summary.length) =>
        {
            let body = StreamingBody::begin(payload, length, body_limits, &scope.context.permits.body_owner())?;
            (Body::Streaming(body), UNSIGNED_PAYLOAD.into())
        }
        _ => buffered(scope, payload).await?,
    };
    if depends_on_document {
        prepared.authorized.check_document(&body).await?;
    }
    if depends_on_spans {
        Box::pin(spans::check(&body, scope.request.headers(), body_limits.size_limit)).await?;
    }
    let places = if is_graphql {
        locations::of_graphql(body.bytes().filter(|_| query.is_empty()).map(|bytes| &**bytes))
    } else {
        prepared.locations.response.into()
    };
    Ok(ReadyRequest { prepared, fields, body, sha256, places })
}

/// Buffers a body in which public artifact locations may stand, and makes them real.
async fn translated(
    prepared: &Prepared<'_>,
    store: &Rc<S3Client>,
    payload: web::Payload,
) -> Result<(Body, Cow<'static, str>), ProxyError> {
    let scope = prepared.authorized.routed.scope;
    let (headers, places) = (scope.request.headers(), prepared.locations.request);
    let (payload, objection) = translate::of_request(payload, headers, places, store, prepared.may_be_elsewhere());
    let buffered = buffered(scope, payload).await?;
    match Rc::into_inner(objection).and_then(OnceCell::into_inner) {
        Some(error) => Err(error),
        None => Ok(buffered),
    }
}

/// Buffers a body, if the request announces one, and returns it with its SHA-256 in hex.
async fn buffered<S>(scope: &RequestScope<'_>, payload: S) -> Result<(Body, Cow<'static, str>), ProxyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let (declared, is_chunked) = (scope.header_summary.length, scope.header_summary.is_chunked);
    // A request of HTTP/2 may have a body that it does not announce.
    let may_have_body = declared.is_some() || is_chunked || scope.request.version() == Version::HTTP_2;
    if !may_have_body {
        // There is nothing to read; what an `Upgrade` request would send later is no body either.
        return Ok((Body::None, EMPTY_SHA256.into()));
    }
    let began = Instant::now();
    let received =
        buffer(payload, declared, &scope.worker.api_body_limits, &scope.context.permits.body_owner()).await?;
    scope.context.log.received(received.len, Some(began.elapsed()));
    if received.len == 0 && declared.is_none() && !is_chunked {
        return Ok((Body::None, EMPTY_SHA256.into()));
    }
    let sha256 = received.sha256_hex();
    Ok((received.body, sha256.into()))
}
