//! Multipart uploads: the URLs of the parts, and the parts that are sent through the appliance.
//!
//! MLflow's client gets all URLs when it begins, and sends each part to its URL with a plain `PUT`, which over a slow link
//! happens much later. So a URL of S3 is valid for at least an hour, as with MLflow's own server. If not even renewed
//! credentials live that long, the URLs lead to the appliance, which signs each part when it arrives.

use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::task::yield_now;
use tokio::time::Duration;

use crate::access::caller::AuthMethod;
use crate::aws::s3::{self, PartUrls};
use crate::http::uri::encoded;
use crate::mlflow::download;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::object::{SignedBytes, upload};
use crate::serve::artifacts::parameters::{parameter, required};
use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::auth::browser;
use crate::serve::error::ProxyError;
use crate::serve::error::s3_error::{S3CallKind, S3Error};
use crate::serve::server::connection;
use crate::serve::upstream::settings::ArtifactAccess;

/// S3's own limit of parts. A file of 100 GB in parts of 10 MiB, MLflow's default, comes close to it.
const LIMIT: u16 = 10_000;
/// The largest part that S3 takes. Bytes.
const SIZE_LIMIT: u64 = 5 << 30;
/// The least validity of a part's URL that leads to S3.
const LIFETIME: Duration = Duration::from_hours(1);
/// The number of URLs that are made in one go, which takes less than a millisecond; then the worker serves other requests.
const SLICE: u16 = 100;

/// One part of an upload.
pub(crate) struct UploadPart {
    upload: String,
    number: u16,
}

/// Returns the part that the query of a request names, if it names one.
///
/// # Errors
/// [`ProxyError::Artifact`].
pub(crate) fn part_of(path_and_query: &str) -> Result<Option<UploadPart>, ProxyError> {
    let Some(upload) = parameter(path_and_query, "uploadId")? else { return Ok(None) };
    let number = required(path_and_query, "partNumber")?;
    match number.parse() {
        Ok(number) if (1..=LIMIT).contains(&number) => Ok(Some(UploadPart { upload, number })),
        _ => Err(ProxyError::Artifact(format!("a part has a number from 1 to {LIMIT}"))),
    }
}

/// Begins an upload and returns the URLs of its parts.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn create(
    request: &ArtifactRequest<'_>,
    path: &ArtifactPath,
    count: u16,
) -> Result<ArtifactResponse, ProxyError> {
    let s3 = request.s3;
    if s3.access == ArtifactAccess::Proxied {
        return Err(ProxyError::NoPresigned);
    }
    if !(1..=LIMIT).contains(&count) {
        return Err(ProxyError::Artifact(format!("an upload has 1 to {LIMIT} parts, not {count}")));
    }
    s3.renew_if_short(LIFETIME).await;
    let is_direct =
        s3.access == ArtifactAccess::PresignedOnly || s3.presigned(LIFETIME, |_, _, lifetime| lifetime >= LIFETIME)?;
    let headers = if is_direct { json!({}) } else { own_headers(request)? };
    let (key, content_type) = (s3.store.key(path), download::content_type(path.name()));
    let begin = |bucket: &s3::Bucket, credentials: &_| bucket.create_multipart(credentials, &key, content_type);
    let upload = s3::upload_id(&s3.text(S3CallKind::Assemble, begin).await?).ok_or(S3Error::InvalidResponse)?;
    let urls = if is_direct {
        request.context.log.presigned_upload();
        let wanted = LIFETIME.max(s3.url_lifetime);
        Urls::Direct(Box::new(s3.presigned(wanted, |bucket, credentials, lifetime| {
            bucket.presigned_parts(credentials, &key, &upload, lifetime)
        })?))
    } else {
        Urls::own(request, path, &upload)
    };
    Ok(ArtifactResponse::Own(urls.response(&upload, headers.to_string(), count)))
}

/// Returns the headers with which a client authenticates its parts. The URL itself holds no secret.
///
/// # Errors
/// [`ProxyError::NoPresigned`] for callers who authenticate by a certificate, a cookie or a load balancer, which the client does
/// not use for parts, and by an AWS identity, whose token could expire before the last part. The client then sends the file in
/// one piece.
fn own_headers(request: &ArtifactRequest<'_>) -> Result<serde_json::Value, ProxyError> {
    match request.context.log.caller().map(|caller| caller.auth_method) {
        Some(AuthMethod::Anonymous) => Ok(json!({})),
        Some(AuthMethod::Token | AuthMethod::Jwt | AuthMethod::Personal(_)) => {
            let value = request.request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            value.map(|value| json!({"Authorization": value})).ok_or(ProxyError::NoPresigned)
        }
        _ => Err(ProxyError::NoPresigned),
    }
}

/// Forwards a part to S3.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn write(
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
    path: &ArtifactPath,
    part: &UploadPart,
) -> Result<ArtifactResponse, ProxyError> {
    let UploadPart { upload: id, number } = part;
    let written = upload(request, payload, path, SIZE_LIMIT, |bucket, credentials, key, signed| match signed {
        SignedBytes::Chunks(length) => bucket.put_part_in_chunks(credentials, key, (id, *number), *length),
        SignedBytes::Whole(_) | SignedBytes::None => Ok(bucket.put_part(credentials, key, id, *number)),
    })
    .await?;
    // The client needs the tag to complete the upload.
    let tag = written.headers.get(header::ETAG).ok_or(S3Error::InvalidResponse)?;
    Ok(ArtifactResponse::Own(HttpResponse::Ok().insert_header((header::ETAG, tag.clone())).finish()))
}

/// The URLs of the parts of one upload.
enum Urls {
    /// The URLs lead to S3.
    Direct(Box<PartUrls>),
    /// The URLs lead to the appliance: the text before the number of the part, and the text after it.
    Own(String, String),
}

impl Urls {
    fn own(request: &ArtifactRequest<'_>, path: &ArtifactPath, upload: &str) -> Self {
        let path: Vec<_> = path.as_str().split('/').map(encoded).collect();
        let (base, path) = (base(request.request, request.prefix), path.join("/"));
        let before = format!("{base}/api/2.0/mlflow-artifacts/artifacts/{path}?partNumber=");
        Self::Own(before, format!("&uploadId={}", encoded(upload)))
    }

    fn of(&self, part: u16) -> String {
        match self {
            Self::Direct(urls) => urls.of(part),
            Self::Own(before, after) => format!("{before}{part}{after}"),
        }
    }

    /// Returns MLflow's response. It is produced in slices while it is sent, because for 10,000 parts it has 15 MB.
    fn response(self, upload: &str, headers: String, count: u16) -> HttpResponse {
        let begin = format!("{{\"upload_id\":{},\"credentials\":[", json!(upload));
        let entry = move |part: u16| {
            // A URL has no character that JSON escapes.
            let comma = if part < count { "," } else { "]}" };
            format!("{{\"url\":\"{}\",\"part_number\":{part},\"headers\":{headers}}}{comma}", self.of(part))
        };
        // Entries differ in the digits of their number, which each contains twice, and in the end of the last one.
        let shortest = entry(1).len() as u64 - if count == 1 { 2 } else { 1 };
        let digits: u64 = (1..=count).map(|part| 2 * u64::from(part.ilog10())).sum();
        let size = begin.len() as u64 + u64::from(count) * (shortest + 1) + 1 + digits;
        let slices = stream::unfold((Some(begin), 1), move |(begin, from)| {
            let slice = (from <= count).then(|| {
                let to = count.min(from + SLICE - 1);
                let text: String = begin.into_iter().chain((from..=to).map(&entry)).collect();
                (Ok::<_, actix_web::Error>(Bytes::from(text)), (None, to + 1))
            });
            async move {
                yield_now().await;
                slice
            }
        });
        HttpResponse::Ok()
            .content_type(header::ContentType::json())
            // The response contains secrets.
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(SizedStream::new(size, Box::pin(slices)))
    }
}

/// Returns the URL by which the caller has reached the appliance, without a slash at its end.
///
/// SECURITY: the `X-Forwarded-*` headers are used without a check of their sender, because a forged one changes only the answer
/// to its own sender.
fn base(request: &HttpRequest, prefix: &str) -> String {
    let forwarded = |name: &str| first(request.headers(), name);
    let is_secure = match forwarded("x-forwarded-proto") {
        Some(scheme) => scheme.eq_ignore_ascii_case("https"),
        None => connection::is_secure(request),
    };
    let scheme = if is_secure { "https" } else { "http" };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let outer = forwarded("x-forwarded-prefix")
        .map(|outer| outer.trim_end_matches('/'))
        .filter(|outer| outer.starts_with('/') && !outer.starts_with("//") && outer.bytes().all(is_plain));
    let is_host = |host: &&str| host.bytes().all(|byte| is_plain(byte) && byte != b'/' || b":[]".contains(&byte));
    let host = forwarded("x-forwarded-host").or_else(|| browser::host(request));
    let host = host.filter(is_host).unwrap_or("localhost");
    format!("{scheme}://{host}{}{prefix}", outer.unwrap_or_default())
}

/// Returns the first of the values that proxies have written into a header.
fn first<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = fields.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::body;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says_and_names_every_part() {
        actix_web::rt::System::new().block_on(async {
            for count in [1, 2, 9, 10, 99, 100, 101, 999, 1000, 10_000] {
                let urls = Urls::Own("http://h/?partNumber=".into(), "&uploadId=u".into());
                let response = urls.response("up\"1", json!({"Authorization": "Bearer \"x"}).to_string(), count);
                let body = response.into_body();
                let body::BodySize::Sized(size) = body::MessageBody::size(&body) else { panic!("of known size") };
                let Ok(bytes) = body::to_bytes(body).await else { panic!("it is written") };
                assert_eq!(bytes.len() as u64, size, "{count}");
                let document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
                let parts = document["credentials"].as_array().expect("a list");
                assert_eq!((document["upload_id"].as_str(), parts.len()), (Some("up\"1"), usize::from(count)));
                for (part, number) in parts.iter().zip(1..) {
                    let url = format!("http://h/?partNumber={number}&uploadId=u");
                    let expected =
                        json!({"url": url, "part_number": number, "headers": {"Authorization": "Bearer \"x"}});
                    assert_eq!(*part, expected);
                }
            }
        });
    }

    #[test]
    fn the_url_of_a_part_leads_back_the_way_that_the_caller_came() {
        for (fields, expected) in [
            (vec![("host", "localhost:5000")], "http://localhost:5000/t/x"),
            (vec![("host", "[::1]:5000")], "http://[::1]:5000/t/x"),
            (vec![("host", "m.example"), ("x-forwarded-proto", "https, http")], "https://m.example/t/x"),
            (vec![("host", "m.example"), ("x-forwarded-prefix", "/mlflow/")], "http://m.example/mlflow/t/x"),
            (vec![("host", "m.example"), ("x-forwarded-prefix", "//evil.example")], "http://m.example/t/x"),
            (vec![("host", "m.example"), ("x-forwarded-prefix", "/a\"b")], "http://m.example/t/x"),
            (vec![("host", "m\"x")], "http://localhost/t/x"),
            (vec![("host", "inner"), ("x-forwarded-host", "m.example, p.example")], "http://m.example/t/x"),
        ] {
            let mut request = TestRequest::default();
            for field in &fields {
                request = request.insert_header(*field);
            }
            assert_eq!(base(&request.to_http_request(), "/t/x"), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_part_has_an_upload_and_a_number() {
        let named =
            |query: &str| part_of(&format!("/x?{query}")).map(|part| part.map(|part| (part.upload, part.number)));
        assert_eq!(named("").ok(), Some(None));
        assert_eq!(named("partNumber=1").ok(), Some(None));
        assert_eq!(named("partNumber=10000&uploadId=a%2Bb").ok(), Some(Some(("a+b".to_owned(), 10_000))));
        for query in ["uploadId=a", "uploadId=a&partNumber=0", "uploadId=a&partNumber=10001", "uploadId=a&partNumber=x"]
        {
            assert!(named(query).is_err(), "{query}");
        }
    }
}
