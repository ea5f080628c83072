//! Artifacts as bytes: read from S3 as they stream, taken in whole before they are written.

use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::aws::s3::Bucket;
use crate::http::body::{Body, Intake, Passing, receive};
use crate::http::fields::Fields;
use crate::http::headers;
use crate::mlflow::download;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::{Answer, Exchange};
use crate::serve::error::ProxyError;
use crate::serve::upstream::backend::Access;
use crate::serve::upstream::s3::{Action, S3Client};

/// What of a caller's headers S3 may judge: conditions and ranges. They are not signed, and need not be.
const CONDITIONS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Reads an artifact, or sends its caller to where it can be read.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn read(exchange: &Exchange<'_>, path: &ArtifactPath) -> Result<Answer, ProxyError> {
    let store = exchange.store;
    let key = store.place.key(path);
    if store.access == Access::PresignedOnly {
        let url = download_url(store, path, None).await?;
        // Not to be kept: the URL is a secret, and soon stale.
        let response = HttpResponse::TemporaryRedirect()
            .insert_header((header::LOCATION, url))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish();
        return Ok(Answer::Own(response));
    }
    let is_head = exchange.request.method() == Method::HEAD;
    let ask = if is_head { Bucket::head } else { Bucket::get };
    let mut fields = Fields::new();
    for name in CONDITIONS {
        if let Some(value) = exchange.request.headers().get(&name) {
            fields.insert(name, value.clone());
        }
    }
    let began = Instant::now();
    let response =
        store.send(Action::Read, |bucket, credentials| ask(bucket, credentials, &key), fields, &Body::None).await?;
    exchange.context.log.upstream_responded(began.elapsed());
    Ok(Answer::Object { response, name: path.name().to_owned() })
}

/// Writes an artifact of at most `limit` bytes. It becomes visible whole, or not at all.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn write(
    exchange: &Exchange<'_>,
    payload: web::Payload,
    path: &ArtifactPath,
    limit: u64,
) -> Result<Answer, ProxyError> {
    let store = exchange.store;
    if store.access == Access::PresignedOnly {
        return Err(ProxyError::PresignedOnly);
    }
    let fields = exchange.request.headers();
    let declared = headers::content_length(fields);
    let given = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A client that reads it from S3 by a presigned URL sees the stored type.
    let content_type = given.unwrap_or_else(|| download::content_type(path.name()));
    let (body, sha256) = take_in(exchange, payload, declared, limit).await?;
    let key = store.place.key(path);
    let began = Instant::now();
    let written = store
        .send(
            Action::Write,
            |bucket, credentials| bucket.put(credentials, &key, Some(content_type), sha256.as_deref()),
            Fields::new(),
            &body,
        )
        .await;
    if let Body::Passing(passing) = &body {
        exchange.context.log.received(passing.passed(), None);
    }
    written?;
    exchange.context.log.upstream_responded(began.elapsed());
    Ok(Answer::json(&json!({})))
}

/// Buffers a body of at most `limit` bytes and returns it with its SHA-256 in base64. A body that is passed on has no hash.
pub(crate) async fn take_in(
    exchange: &Exchange<'_>,
    payload: web::Payload,
    declared: Option<u64>,
    limit: u64,
) -> Result<(Body, Option<String>), ProxyError> {
    let intake = Intake { size_limit: exchange.intake.size_limit.min(limit), ..exchange.intake.clone() };
    if let Some(length) = intake.passes(declared) {
        return Ok((
            Body::Passing(Passing::begin(payload, length, &intake, &exchange.context.permits.account())?),
            None,
        ));
    }
    let began = Instant::now();
    // While the caller sends, no connection is needed.
    exchange.context.permits.release_store();
    let received = receive(payload, declared, &intake, &exchange.context.permits.account()).await?;
    exchange.share().await?;
    exchange.context.log.received(received.len, Some(began.elapsed()));
    Ok((received.body, Some(STANDARD.encode(received.sha256))))
}

/// Returns a presigned URL that downloads an artifact. A browser that opens it saves the file.
///
/// SECURITY: without the disposition, a browser would render an uploaded HTML page and run its scripts in the bucket's origin,
/// and the URL, which is a secret, would stay in the address bar.
///
/// # Errors
/// [`ProxyError::Credentials`].
pub(crate) async fn download_url(
    store: &S3Client,
    path: &ArtifactPath,
    content_type: Option<&str>,
) -> Result<String, ProxyError> {
    let (key, disposition) = (store.place.key(path), download::attachment(path.name()));
    store.prolong(store.url_lifetime).await;
    store.presigned(store.url_lifetime, |bucket, credentials, lifetime| {
        bucket.presigned_get(credentials, &key, lifetime, &disposition, content_type)
    })
}
