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
mod signature;

use std::time::SystemTime;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;

use canonical::hex;
pub(super) use presigned::{is_presigned, verify_presigned};
pub(super) use request::ReceivedRequest;
use signature::{
    ALGORITHM, CLOCK_WINDOW, ClaimedSignature, check_signed_headers, equal, expected_signature, forbidden, identify,
    parse_date, reject,
};
pub(super) use signature::{AwsRejection, SigningScope};

use super::identity::{Issuer, Principal};

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
    let authorization = ClaimedSignature::parse(request.headers)?;
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

impl<'a> ClaimedSignature<'a> {
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
}

/// Returns the only value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, AwsRejection> {
    let mut values = headers.get_all(name);
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(forbidden("IncompleteSignatureException", format!("Exactly one '{name}' header is required."))),
    }
}

fn check_clock(date: &str, authorization: &ClaimedSignature<'_>, now: SystemTime) -> Result<(), AwsRejection> {
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

#[cfg(test)]
mod tests;
