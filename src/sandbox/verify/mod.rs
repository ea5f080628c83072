//! Checks an AWS Signature Version 4 the way AWS does, from the specification and from nothing else.
//!
//! This is the oracle for the production signer: it shares no code with it, nor its cryptography (ring here). It
//! takes the request as it came over the wire and is strict where AWS is: the scope, the clock, the token, the
//! payload's hash, and which headers must be signed.
//!
//! Source: "Create a signed AWS API request", AWS IAM User Guide.

mod canonical;
mod presigned;
mod request;

use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use ring::{digest, hmac};

use canonical::hex;
pub(super) use presigned::{is_presigned, verify_presigned};
pub(super) use request::ReceivedRequest;

use super::identity::{IssuedCredentials, Issuer, Principal};

/// The largest clock skew of a request. AWS services name five minutes in their messages.
const CLOCK_WINDOW: Duration = Duration::from_mins(5);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The scope for which a service accepts signatures.
pub(super) struct SigningScope<'a> {
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    /// Headers that must be signed if present, beside those that AWS demands of everyone.
    pub(super) must_sign: &'a [&'a str],
}

/// A rejection in the words of AWS.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AwsRejection {
    pub(super) status: StatusCode,
    /// The exception's name.
    pub(super) code: &'static str,
    pub(super) message: String,
}

fn reject(status: StatusCode, code: &'static str, message: impl Into<String>) -> AwsRejection {
    AwsRejection { status, code, message: message.into() }
}

fn forbidden(code: &'static str, message: impl Into<String>) -> AwsRejection {
    reject(StatusCode::FORBIDDEN, code, message)
}

/// Verifies the signature, and returns the principal that signed.
///
/// # Errors
/// The first reason for which AWS would reject the request.
pub(super) fn verify(
    request: &ReceivedRequest<'_>,
    service: &SigningScope<'_>,
    issuer: &Issuer,
    now: SystemTime,
) -> Result<Principal, AwsRejection> {
    let authorization = AuthorizationHeader::parse(request.headers)?;
    authorization.check_scope(service)?;
    let date = single(request.headers, "x-amz-date")?;
    check_clock(date, &authorization, now)?;
    let token = single(request.headers, "x-amz-security-token").ok();
    let issued = identify(&authorization, token, issuer, now)?;
    check_signed_headers(request.headers, &authorization, service)?;
    let actual = hex(request.body_sha256);
    // Optional, as for STS; where it is absent the hash of what arrived is part of the signature.
    let payload = if request.headers.contains_key("x-amz-content-sha256") {
        single(request.headers, "x-amz-content-sha256")?
    } else {
        &actual
    };
    let signature = expected_signature(request, &authorization, date, payload, &issued.secret_access_key);
    if !equal(signature.as_bytes(), authorization.hex.as_bytes()) {
        return Err(forbidden(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    if payload != actual {
        return Err(reject(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ));
    }
    Ok(issued.principal)
}

struct AuthorizationHeader<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    hex: &'a str,
}

impl<'a> AuthorizationHeader<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, AwsRejection> {
        let incomplete =
            |what: &str| forbidden("IncompleteSignatureException", format!("Authorization header requires {what}."));
        if !headers.contains_key("authorization") {
            return Err(forbidden("MissingAuthenticationTokenException", "Missing Authentication Token"));
        }
        let fields = single(headers, "authorization")?
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| incomplete("the algorithm AWS4-HMAC-SHA256"))?;
        let field = |name: &str| {
            fields
                .split(',')
                .filter_map(|field| field.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .ok_or_else(|| incomplete(&format!("'{name}' parameter")))
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(incomplete("a credential scope of four parts that ends with 'aws4_request'"));
        };
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        Ok(Self { access_key_id, date, region, service, signed_headers, hex: field("Signature")? })
    }

    fn check_scope(&self, service: &SigningScope<'_>) -> Result<(), AwsRejection> {
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

/// Returns the only value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, AwsRejection> {
    let mut values = headers.get_all(name);
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(forbidden("IncompleteSignatureException", format!("Exactly one '{name}' header is required."))),
    }
}

/// Parses a date such as `20260101T000000Z`.
fn parse_date(text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z')?;
    let (day, time) = digits.split_once('T')?;
    if day.len() != 8 || time.len() != 6 || !digits.is_ascii() {
        return None;
    }
    let (year, month, date) = (&day[..4], &day[4..6], &day[6..]);
    let (hour, minute, second) = (&time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&format!("{year}-{month}-{date}T{hour}:{minute}:{second}Z")).ok()
}

fn check_clock(date: &str, authorization: &AuthorizationHeader<'_>, now: SystemTime) -> Result<(), AwsRejection> {
    let moment = parse_date(date).ok_or_else(|| {
        forbidden("IncompleteSignatureException", format!("Date must be in ISO-8601 'basic format'. Got '{date}'."))
    })?;
    if !date.starts_with(authorization.date) {
        return Err(forbidden(
            "InvalidSignatureException",
            format!("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: '{date}'."),
        ));
    }
    if now.duration_since(moment).is_ok_and(|age| age > CLOCK_WINDOW) {
        return Err(forbidden("InvalidSignatureException", format!("Signature expired: {date} is too old.")));
    }
    if moment.duration_since(now).is_ok_and(|lead| lead > CLOCK_WINDOW) {
        return Err(forbidden("InvalidSignatureException", format!("Signature not yet current: {date} is to come.")));
    }
    Ok(())
}

fn identify(
    authorization: &AuthorizationHeader<'_>,
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
fn check_signed_headers(
    headers: &HeaderMap,
    authorization: &AuthorizationHeader<'_>,
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

fn expected_signature(
    request: &ReceivedRequest<'_>,
    authorization: &AuthorizationHeader<'_>,
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
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests;
