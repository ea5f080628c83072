//! A call in AWS's JSON 1.1 protocol: one signed POST.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;
use super::upstream::insert_signature;
use crate::aws::credentials::Current;
use crate::aws::sigv4::{Signable, Signer, hex};
use crate::clock;
use crate::http::body::Body;
use crate::http::client::{Client, ClientSettings, Dialer, Endpoint, Request};

/// The header that names the operation.
const OPERATION: &str = "x-amz-target";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// What is asked for here has some kilobytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// What is asked, and where.
pub(super) struct Call<'a> {
    /// Where the service is.
    pub endpoint: &'a Endpoint,
    /// Of the signature.
    pub region: &'a str,
    /// Of the signature.
    pub service: &'static str,
    /// As in `AmazonSSM.GetParameter`.
    pub operation: &'a str,
    /// Its input.
    pub question: &'a Value,
}

/// Makes the call, over a connection of its own.
///
/// # Errors
/// [`Refusal`]: no credentials, or no answer.
pub(super) async fn send(
    call: Call<'_>,
    dialer: &Dialer,
    settings: ClientSettings,
    credentials: &Current,
) -> Result<(StatusCode, Bytes), Refusal> {
    let Call { endpoint, region, service, operation, question } = call;
    let body = question.to_string();
    let sha256 = hex(&Sha256::digest(&body));
    let host = endpoint.authority();
    let value = |text: &str| HeaderValue::try_from(text).expect("hosts and operations were checked when parsed");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, value(&host));
    headers.insert(header::CONTENT_TYPE, value(CONTENT_TYPE));
    headers.insert(HeaderName::from_static(OPERATION), value(operation));
    let now = clock::now();
    let signer = Signer::new(region, service);
    credentials.with(now, |credentials| {
        let request = Signable {
            method: "POST",
            target: "/",
            host: &host,
            content_type: Some(CONTENT_TYPE),
            routing: Some((OPERATION, operation)),
            payload_sha256: &sha256,
        };
        insert_signature(&mut headers, &signer, &request, credentials, now);
    })?;
    let client = Client::new(dialer.to(endpoint.clone()), settings);
    let body = Body::from_bytes(Bytes::from(body));
    let response = client.send(Request { method: Method::POST, target: "/", headers, body: &body }).await?;
    let status = response.status;
    Ok((status, response.body.collect(ANSWER_LIMIT).await.map_err(Refusal::Document)?))
}
