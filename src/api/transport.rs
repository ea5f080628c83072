//! The one way to AWS's services: a request, signed if need be, and its response, read whole.

use std::time::{Duration, SystemTime};

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use aws_credential_types::Credentials;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::error::ApiError;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::sigv4::{EMPTY_SHA256, Signable, Signer};
use crate::http::client::{Dialer, Endpoint, ServiceClient, ServiceLimits, ServiceResponse};
use crate::http::fields::Fields;

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The responses of these services have some kilobytes. Bytes.
const BODY_LIMIT: usize = 1 << 20;

/// The connections to services, and their deadline.
#[derive(Clone)]
pub struct Transport {
    /// Opens connections.
    pub dialer: Dialer,
    /// The longest time for one exchange, from the connection to the end of the response.
    pub exchange_timeout: Duration,
}

/// A request that is to be signed.
pub struct SignedRequest<'a> {
    /// The service's endpoint.
    pub endpoint: &'a Endpoint,
    /// The region of the signature.
    pub region: &'a str,
    /// The service's name in signatures.
    pub service: &'static str,
    /// The method.
    pub method: Method,
    /// Path and query in normal form.
    pub target: &'a str,
    /// `Content-Type`, if there is a body.
    pub content_type: Option<&'static str>,
    /// A header of the service's own, as in [`Signable::routing`].
    pub routing: Option<(&'static str, &'a str)>,
    /// The body; may be empty.
    pub body: Bytes,
}

impl Transport {
    /// Makes one exchange over a connection of its own.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn exchange(
        &self,
        endpoint: &Endpoint,
        method: Method,
        target: &str,
        headers: Fields,
        body: Bytes,
    ) -> Result<ServiceResponse, ApiError> {
        let Self { exchange_timeout, .. } = *self;
        let limits = ServiceLimits { exchange_timeout, keep_alive: Duration::ZERO, body_limit: BODY_LIMIT };
        let client = ServiceClient::new(self.dialer.to(endpoint.clone()), limits);
        Ok(client.exchange(method, target, headers, body).await?)
    }

    /// Signs a request, and makes the exchange.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn signed(
        &self,
        request: SignedRequest<'_>,
        credentials: &CurrentCredentials,
    ) -> Result<ServiceResponse, ApiError> {
        let SignedRequest { endpoint, region, service, method, target, content_type, routing, body } = request;
        let now = credentials.now();
        let (host, sha256) = (endpoint.authority(), hex::encode(digest(&SHA256, &body)));
        let mut headers = Fields::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, value(content_type));
        }
        if let Some((name, text)) = routing {
            headers.insert(HeaderName::from_static(name), value(text));
        }
        credentials.with(now, |credentials| {
            let method = method.as_str();
            let request = Signable { method, target, host: &host, content_type, routing, payload_sha256: &sha256 };
            insert_signature(&mut headers, &Signer::new(region, service), &request, credentials, now);
        })?;
        self.exchange(endpoint, method, target, headers, body).await
    }
}

/// Adds the headers of a signature to the headers of the request that it covers.
pub fn insert_signature(
    headers: &mut Fields,
    signer: &Signer,
    request: &Signable<'_>,
    credentials: &Credentials,
    now: SystemTime,
) {
    let signature = signer.sign(request, credentials, now);
    headers.insert(X_AMZ_DATE, signature.date);
    headers.insert(X_AMZ_CONTENT_SHA256, payload_value(request.payload_sha256));
    headers.insert(header::AUTHORIZATION, signature.authorization);
    if let Some(token) = signature.token {
        headers.insert(X_AMZ_SECURITY_TOKEN, token);
    }
}

fn payload_value(sha256: &str) -> HeaderValue {
    // Their addresses are compared, because musl compares texts byte by byte, and takes longer for it than for a copy.
    if std::ptr::eq(sha256, EMPTY_SHA256) { HeaderValue::from_static(EMPTY_SHA256) } else { value(sha256) }
}

/// A header value of text that is known to be ASCII.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("hosts, operations and hashes are ASCII")
}
