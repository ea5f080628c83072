//! A call in AWS's JSON 1.1 protocol: one signed POST.

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{ApiError, Transport, insert_signature, value};
use crate::aws::credentials::Current;
use crate::aws::sigv4::{Signable, Signer, hex};
use crate::clock;
use crate::http::client::Endpoint;

/// The header that names the operation.
const OPERATION: &str = "x-amz-target";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// What is asked, and where.
pub struct Call<'a> {
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

/// Makes the call.
///
/// # Errors
/// [`ApiError`]: no credentials, or no answer.
pub async fn send(
    call: Call<'_>,
    transport: &Transport,
    credentials: &Current,
) -> Result<(StatusCode, Bytes), ApiError> {
    let Call { endpoint, region, service, operation, question } = call;
    let body = question.to_string();
    let sha256 = hex(&Sha256::digest(&body));
    let host = endpoint.authority();
    let mut headers = HeaderMap::new();
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
    let answer = transport.exchange(endpoint, Method::POST, "/", headers, Bytes::from(body)).await?;
    Ok((answer.status, answer.body))
}

/// The name of the error in an answer that is one.
#[must_use]
pub fn error_code(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    // Some services write `com.amazonaws.…#Name`.
    let code = answer["__type"].as_str().and_then(|code| code.rsplit('#').next());
    code.unwrap_or("an error without a name").to_owned()
}
