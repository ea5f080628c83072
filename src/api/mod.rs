//! Calls to AWS's services over our own client: each of these is too little to be worth an SDK.

#[cfg(feature = "deploy")]
pub mod account;
#[cfg(feature = "deploy")]
pub mod cloudformation;
pub mod describe;
pub mod imds;
pub mod json;
pub mod parameters;
pub mod presign;
pub mod query;
mod sagemaker;
#[cfg(feature = "deploy")]
pub mod service;
#[cfg(feature = "deploy")]
mod xml;

use std::time::SystemTime;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use aws_credential_types::Credentials;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::aws::credentials::{Current, Unavailable};
use crate::aws::sigv4::{EMPTY_SHA256, Signable, Signer, hex};
use crate::clock;
use crate::http::body::Body;
use crate::http::client::{BodyError, Client, ClientError, ClientSettings, Dialer, Endpoint, Request};
use crate::http::fields::Fields;

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// What is asked for here has some kilobytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// How services are connected to.
#[derive(Clone)]
pub struct Transport {
    /// Opens connections.
    pub dialer: Dialer,
    /// Limits of those.
    pub settings: ClientSettings,
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is nothing to sign with.
    #[error("no valid AWS credentials")]
    Credentials(#[from] Unavailable),
    /// No answer came.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer began, and did not end.
    #[error("the answer did not arrive")]
    Body(#[from] BodyError),
}

/// An answer, read as a whole.
#[derive(Debug)]
pub struct ApiResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
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
        mut headers: Fields,
        body: Bytes,
    ) -> Result<ApiResponse, ApiError> {
        headers.insert(header::HOST, value(&endpoint.authority()));
        let client = Client::new(self.dialer.to(endpoint.clone()), self.settings);
        let body = if body.is_empty() { Body::None } else { Body::from_bytes(body) };
        let response = client.send(Request { method, target, headers: &headers, body: &body }).await?;
        let (status, headers) = (response.status, response.headers.clone());
        Ok(ApiResponse { status, headers, body: response.body.collect(ANSWER_LIMIT).await? })
    }
}

/// A request that is to be signed.
pub struct Signed<'a> {
    /// Where the service is.
    pub endpoint: &'a Endpoint,
    /// Of the signature.
    pub region: &'a str,
    /// Of the signature.
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
    /// Signs a request, and makes the exchange.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn signed(&self, signed: Signed<'_>, credentials: &Current) -> Result<ApiResponse, ApiError> {
        let Signed { endpoint, region, service, method, target, content_type, routing, body } = signed;
        let now = clock::now();
        let (host, sha256) = (endpoint.authority(), hex(&Sha256::digest(&body)));
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

/// Adds what a signature consists of to the headers of the request that is signed.
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
    if sha256 == EMPTY_SHA256 { HeaderValue::from_static(EMPTY_SHA256) } else { value(sha256) }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("hosts, operations and hashes are ASCII")
}
