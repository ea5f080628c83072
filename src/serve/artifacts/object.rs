//! The bytes of artifacts: streamed from S3 when they are read, and to S3 in signed chunks when they are written.

use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, web};
use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::aws::s3::{Bucket, ChunkedPutError, SignedS3Request};
use crate::http::body::{Body, BodyLimits, StreamingBody, VerifiedPayload, buffer};
use crate::http::client::Response;
use crate::http::fields::Fields;
use crate::http::headers;
use crate::mlflow::download;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::error::ProxyError;
use crate::serve::error::s3_error::S3CallKind;
use crate::serve::upstream::s3::S3Client;
use crate::serve::upstream::settings::ArtifactAccess;

/// The caller's headers that S3 may judge: conditions and ranges. They are not signed, and need not be.
const CONDITIONS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Reads an artifact, or redirects its caller to a presigned URL.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn read(request: &ArtifactRequest<'_>, path: &ArtifactPath) -> Result<ArtifactResponse, ProxyError> {
    let s3 = request.s3;
    let key = s3.store.key(path);
    let is_head = request.request.method() == Method::HEAD;
    // The signature in a URL is for GET alone, and the response to HEAD has no bytes of the artifact.
    if s3.access == ArtifactAccess::PresignedOnly && !is_head {
        let url = download_url(s3, path, None).await?;
        request.context.log.presigned_download();
        // The URL is a secret and expires soon, so nothing may cache it.
        let response = HttpResponse::TemporaryRedirect()
            .insert_header((header::LOCATION, url))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish();
        return Ok(ArtifactResponse::Own(response));
    }
    let ask = if is_head { Bucket::head } else { Bucket::get };
    let mut fields = Fields::new();
    for name in CONDITIONS {
        if let Some(value) = request.request.headers().get(&name) {
            fields.insert(name, value.clone());
        }
    }
    let began = Instant::now();
    let response = s3
        .send(S3CallKind::Read, |bucket, credentials| Ok(ask(bucket, credentials, &key)), fields, &Body::None)
        .await?;
    request.context.log.upstream_responded(began.elapsed());
    Ok(ArtifactResponse::Object { response, name: path.name().to_owned() })
}

/// Writes an artifact of at most `limit` bytes. It becomes visible as a whole, or not at all.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn write(
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
    path: &ArtifactPath,
    limit: u64,
) -> Result<ArtifactResponse, ProxyError> {
    let given = request.request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A client that reads the artifact by a presigned URL sees the stored type.
    let content_type = given.unwrap_or_else(|| download::content_type(path.name()));
    upload(request, payload, path, limit, |bucket, credentials, key, signed| match signed {
        SignedBytes::Whole(sha256) => Ok(bucket.put(credentials, key, Some(content_type), Some(sha256))),
        SignedBytes::Chunks(length) => bucket.put_in_chunks(credentials, key, content_type, *length),
        SignedBytes::None => Ok(bucket.put(credentials, key, Some(content_type), None)),
    })
    .await?;
    Ok(ArtifactResponse::json(&json!({})))
}

/// Sends a body of at most `limit` bytes to S3. `sign` signs the request for the key of the artifact.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn upload(
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
    path: &ArtifactPath,
    limit: u64,
    sign: impl Fn(&Bucket, &Credentials, &str, &SignedBytes) -> Result<SignedS3Request, ChunkedPutError>,
) -> Result<Box<Response>, ProxyError> {
    let s3 = request.s3;
    if s3.access == ArtifactAccess::PresignedOnly {
        return Err(ProxyError::PresignedOnly);
    }
    let (body, signed) = prepare_upload(request, payload, limit).await?;
    let key = s3.store.key(path);
    let began = Instant::now();
    let sign = |bucket: &Bucket, credentials: &Credentials| sign(bucket, credentials, &key, &signed);
    let response = s3.send(S3CallKind::Write, sign, Fields::new(), &body).await;
    if let Body::Streaming(streaming) = &body {
        request.context.log.received(streaming.sent(), None);
    }
    let response = response?;
    request.context.log.upstream_responded(began.elapsed());
    Ok(response)
}

/// The part of an upload that S3 checks.
pub(crate) enum SignedBytes {
    /// All bytes by their SHA-256, in base64.
    Whole(String),
    /// All bytes by the signatures of their chunks. The length of the body.
    Chunks(u64),
    /// None.
    None,
}

/// Streams a large body of an announced length, and buffers any other body, of at most `limit` bytes. If the caller sends a
/// `Content-MD5`, a body that differs from it never arrives at its end.
async fn prepare_upload(
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
    limit: u64,
) -> Result<(Body, SignedBytes), ProxyError> {
    let declared = headers::content_length(request.request.headers());
    let payload = VerifiedPayload::new(payload, request.request.headers(), declared)
        .map_err(|error| ProxyError::Artifact(error.to_string()))?;
    let limits = BodyLimits { size_limit: request.body_limits.size_limit.min(limit), ..request.body_limits.clone() };
    let large = limits.large(declared).filter(|_| limits.streams_large || !request.s3.signs_whole_uploads);
    if let Some(length) = large {
        let body = StreamingBody::begin(payload, length, &limits, &request.context.permits.body_owner())?;
        let signed = if limits.streams_large { SignedBytes::None } else { SignedBytes::Chunks(length) };
        return Ok((Body::Streaming(body), signed));
    }
    let began = Instant::now();
    // No connection is needed while the caller sends the body.
    request.context.permits.store.release();
    let received = buffer(payload, declared, &limits, &request.context.permits.body_owner()).await?;
    request.take_share().await?;
    request.context.log.received(received.len, Some(began.elapsed()));
    Ok((received.body, SignedBytes::Whole(STANDARD.encode(received.sha256))))
}

/// Returns a presigned URL that downloads an artifact. A browser that opens it saves the file.
///
/// SECURITY: without the disposition, a browser would render an uploaded HTML page and run its scripts in the bucket's origin,
/// and the URL, which is a secret, would stay in the address bar.
///
/// # Errors
/// [`ProxyError::Credentials`].
pub(crate) async fn download_url(
    s3: &S3Client,
    path: &ArtifactPath,
    content_type: Option<&str>,
) -> Result<String, ProxyError> {
    let (key, disposition) = (s3.store.key(path), download::attachment(path.name()));
    s3.renew_if_short(s3.url_lifetime).await;
    s3.presigned(s3.url_lifetime, |bucket, credentials, lifetime| {
        bucket.presigned_get(credentials, &key, lifetime, &disposition, content_type)
    })
}
