//! Checks a request whose signature is in its query, as AWS does.

use std::time::{Duration, SystemTime};

use super::super::identity::{Issuer, Principal};
use super::canonical::{decode, hex};
use super::request::ReceivedRequest;
use super::signature::{
    ALGORITHM, AwsRejection, CLOCK_WINDOW, ClaimedSignature, SigningScope, check_signed_headers, equal,
    expected_signature, forbidden, identify, parse_date,
};

/// STS accepts no presigned request that is older, whatever `X-Amz-Expires` says.
const LONGEST_LIFETIME: Duration = Duration::from_mins(15);

/// Returns true if the request carries its signature in its query.
pub(crate) fn is_presigned(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("X-Amz-Signature="))
}

/// Verifies the signature, and returns the principal that signed.
///
/// # Errors
/// The first reason for which AWS would reject the request.
pub(crate) fn verify_presigned(
    request: &ReceivedRequest<'_>,
    service: &SigningScope<'_>,
    issuer: &Issuer,
    now: SystemTime,
) -> Result<Principal, AwsRejection> {
    let incomplete = |name: &str| forbidden("IncompleteSignatureException", format!("'{name}' is required once."));
    let parameter = |name: &str| {
        let mut values =
            request.query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => String::from_utf8(decode(value)).map_err(|_| incomplete(name)),
            _ => Err(incomplete(name)),
        }
    };
    if parameter("X-Amz-Algorithm")? != ALGORITHM {
        return Err(incomplete("X-Amz-Algorithm"));
    }
    let (credential, signed) = (parameter("X-Amz-Credential")?, parameter("X-Amz-SignedHeaders")?);
    let (date, signature) = (parameter("X-Amz-Date")?, parameter("X-Amz-Signature")?);
    let lifetime =
        parameter("X-Amz-Expires")?.parse().map(Duration::from_secs).map_err(|_| incomplete("X-Amz-Expires"))?;
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key_id, day, region, name, "aws4_request"] = scope[..] else {
        return Err(incomplete("X-Amz-Credential"));
    };
    let signed_headers = signed.split(';').collect();
    let authorization =
        ClaimedSignature { access_key_id, date: day, region, service: name, signed_headers, hex: &signature };
    authorization.check_scope(service)?;
    let moment = parse_date(&date).filter(|_| date.starts_with(day)).ok_or_else(|| incomplete("X-Amz-Date"))?;
    if moment.duration_since(now).is_ok_and(|lead| lead > CLOCK_WINDOW) {
        return Err(forbidden("InvalidSignatureException", format!("Signature not yet current: {date} is to come.")));
    }
    if now.duration_since(moment).is_ok_and(|age| age > lifetime.min(LONGEST_LIFETIME)) {
        return Err(forbidden("InvalidSignatureException", format!("Signature expired: {date} is too old.")));
    }
    let issued = identify(&authorization, parameter("X-Amz-Security-Token").ok().as_deref(), issuer, now)?;
    check_signed_headers(request.headers, &authorization, service)?;
    let unsigned: Vec<&str> = request.query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
    let covered = ReceivedRequest { query: &unsigned.join("&"), ..*request };
    let payload = hex(request.body_sha256);
    let expected = expected_signature(&covered, &authorization, &date, &payload, &issued.secret_access_key);
    if equal(expected.as_bytes(), signature.as_bytes()) {
        Ok(issued.principal)
    } else {
        Err(forbidden("InvalidSignatureException", "The request signature we calculated does not match."))
    }
}
