//! A call in AWS's JSON 1.1 protocol: one signed POST.

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::transport::{SignedRequest, Transport};
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;

/// The header that names the operation.
const OPERATION: &str = "x-amz-target";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A call: the service, the operation and its input.
pub struct JsonCall<'a, T = Value> {
    /// The service's endpoint.
    pub endpoint: &'a Endpoint,
    /// The region of the signature.
    pub region: &'a str,
    /// The service's name in the signature.
    pub service: &'static str,
    /// The operation with its service, as in `AmazonSSM.GetParameter`.
    pub operation: &'a str,
    /// Its input.
    pub input: &'a T,
}

/// Makes the call.
///
/// # Errors
/// [`ApiError`]: no credentials, or no response.
pub async fn send<T: Serialize>(
    call: JsonCall<'_, T>,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<(StatusCode, Bytes), ApiError> {
    let JsonCall { endpoint, region, service, operation, input } = call;
    let call = SignedRequest {
        endpoint,
        region,
        service,
        method: Method::POST,
        target: "/",
        content_type: Some(CONTENT_TYPE),
        routing: Some((OPERATION, operation)),
        body: Bytes::from(serde_json::to_vec(input).expect("memory takes everything, and keys are texts")),
    };
    let answer = transport.signed(call, credentials).await?;
    Ok((answer.status, answer.body))
}

/// The code of an error response.
#[must_use]
pub fn error_code(answer: &[u8]) -> String {
    named_error(answer).unwrap_or_else(|| "an error without a name".to_owned())
}

/// The code of an error response, if it has one. That of a proxy on the way has none.
#[must_use]
pub fn named_error(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    // Some services write `com.amazonaws.…#Name`.
    answer["__type"].as_str().and_then(|code| code.rsplit('#').next()).map(ToOwned::to_owned)
}

/// The message of an error response.
#[must_use]
pub fn error_message(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let said = ["message", "Message"].into_iter().find_map(|key| answer[key].as_str());
    said.unwrap_or("no reason given").to_owned()
}
