//! The parts of a signature, wherever it stands in a request, and the checks that AWS makes in either place.

use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use ring::{digest, hmac};

use super::super::identity::{IssuedCredentials, Issuer};
use super::canonical::{self, hex};
use super::request::ReceivedRequest;

/// The largest clock skew of a request. AWS services name five minutes in their messages.
pub(super) const CLOCK_WINDOW: Duration = Duration::from_mins(5);
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The scope for which a service accepts signatures.
pub(crate) struct SigningScope<'a> {
    pub(crate) name: &'a str,
    pub(crate) region: &'a str,
    /// Headers that must be signed if present, beside those that AWS demands of everyone.
    pub(crate) must_sign: &'a [&'a str],
}

/// A rejection in the words of AWS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AwsRejection {
    pub(crate) status: StatusCode,
    /// The exception's name.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

pub(super) fn reject(status: StatusCode, code: &'static str, message: impl Into<String>) -> AwsRejection {
    AwsRejection { status, code, message: message.into() }
}

pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> AwsRejection {
    reject(StatusCode::FORBIDDEN, code, message)
}

/// A signature as a request states it, in a header or in its query.
pub(super) struct ClaimedSignature<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) signed_headers: Vec<&'a str>,
    pub(super) hex: &'a str,
}

impl ClaimedSignature<'_> {
    pub(super) fn check_scope(&self, service: &SigningScope<'_>) -> Result<(), AwsRejection> {
        if self.region != service.region {
            return Err(forbidden(
                "InvalidSignatureException",
                format!("Credential should be scoped to a valid region, not '{}'.", self.region),
            ));
        }
        if self.service != service.name {
            return Err(forbidden(
                "InvalidSignatureException",
                format!("Credential should be scoped to correct service: '{}'.", service.name),
            ));
        }
        Ok(())
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// Parses a date such as `20260101T000000Z`.
pub(super) fn parse_date(text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z')?;
    let (day, time) = digits.split_once('T')?;
    if day.len() != 8 || time.len() != 6 || !digits.is_ascii() {
        return None;
    }
    let (year, month, date) = (&day[..4], &day[4..6], &day[6..]);
    let (hour, minute, second) = (&time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&format!("{year}-{month}-{date}T{hour}:{minute}:{second}Z")).ok()
}

pub(super) fn identify(
    authorization: &ClaimedSignature<'_>,
    token: Option<&str>,
    issuer: &Issuer,
    now: SystemTime,
) -> Result<IssuedCredentials, AwsRejection> {
    let invalid = || forbidden("UnrecognizedClientException", "The security token included in the request is invalid.");
    let issued = issuer.find(authorization.access_key_id).ok_or_else(invalid)?;
    let token = token.ok_or_else(invalid)?;
    if !equal(token.as_bytes(), issued.session_token.as_bytes()) {
        return Err(invalid());
    }
    if issued.expiry <= now {
        return Err(forbidden("ExpiredTokenException", "The security token included in the request is expired"));
    }
    Ok(issued)
}

/// AWS demands that `host` and every `x-amz-*` header be signed, each once and in alphabetical order.
pub(super) fn check_signed_headers(
    headers: &HeaderMap,
    authorization: &ClaimedSignature<'_>,
    service: &SigningScope<'_>,
) -> Result<(), AwsRejection> {
    let signed = &authorization.signed_headers;
    let unsigned = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") || service.must_sign.contains(name))
        .chain(["host"])
        .find(|name| !signed.contains(name));
    if let Some(name) = unsigned {
        return Err(forbidden(
            "InvalidSignatureException",
            format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."),
        ));
    }
    if !signed.is_sorted() || signed.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(forbidden("IncompleteSignatureException", "SignedHeaders must be sorted and unique."));
    }
    Ok(())
}

pub(super) fn expected_signature(
    request: &ReceivedRequest<'_>,
    authorization: &ClaimedSignature<'_>,
    date: &str,
    payload: &str,
    secret: &str,
) -> String {
    let canonical = [
        request.method,
        &canonical::path(request.path),
        &canonical::query(request.query),
        &canonical::headers(request, &authorization.signed_headers),
        &authorization.signed_headers.join(";"),
        payload,
    ]
    .join("\n");
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = [ALGORITHM, date, &authorization.scope(), &hashed].join("\n");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [authorization.date, authorization.region, authorization.service, "aws4_request"] {
        key = keyed(&key, part.as_bytes());
    }
    hex(&keyed(&key, to_sign.as_bytes()))
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Compares in a time that does not depend on where the difference is.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
