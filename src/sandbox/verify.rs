//! Checks an AWS Signature Version 4 the way AWS does, from the specification and from nothing else.
//!
//! This is the oracle for the production signer: it shares no code with it, nor its cryptography (ring here). It
//! takes the request as it came over the wire and is strict where AWS is: the scope, the clock, the token, the
//! payload's hash, and which headers must be signed.
//!
//! Source: "Create a signed AWS API request", AWS IAM User Guide.

use std::time::{Duration, SystemTime};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;
use ring::{digest, hmac};

use super::identity::{Issued, Issuer, Principal};

/// How far a request's clock may be from ours. AWS services name five minutes in their messages.
const CLOCK_WINDOW: Duration = Duration::from_mins(5);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it was received.
pub(super) struct Received<'a> {
    pub(super) method: &'a str,
    /// As sent, still encoded.
    pub(super) path: &'a str,
    /// As sent, still encoded; empty if there is none.
    pub(super) query: &'a str,
    /// The authority, from `Host` or `:authority`.
    pub(super) host: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// SHA-256 of the body that actually arrived.
    pub(super) body_sha256: &'a [u8],
}

impl<'a> Received<'a> {
    /// What the server understood of a request, untouched.
    pub(super) fn new(request: &'a HttpRequest, body_sha256: &'a [u8]) -> Self {
        let in_header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let in_target = request.uri().authority().map(Authority::as_str);
        Self {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            host: in_header.or(in_target).unwrap_or_default(),
            headers: request.headers(),
            body_sha256,
        }
    }
}

/// What a service accepts.
pub(super) struct Service<'a> {
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    /// Headers that must be signed if present, beside those that AWS demands of everyone.
    pub(super) must_sign: &'a [&'a str],
}

/// A refusal in AWS's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The exception's name.
    pub(super) code: &'static str,
    pub(super) message: String,
}

fn refuse(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

fn forbidden(code: &'static str, message: impl Into<String>) -> Refusal {
    refuse(StatusCode::FORBIDDEN, code, message)
}

/// Who signed the request.
///
/// # Errors
/// The first reason for which AWS would refuse it.
pub(super) fn verify(
    request: &Received<'_>,
    service: &Service<'_>,
    issuer: &Issuer,
    now: SystemTime,
) -> Result<Principal, Refusal> {
    let authorization = Signature::parse(request.headers)?;
    authorization.check_scope(service)?;
    let date = single(request.headers, "x-amz-date")?;
    check_clock(date, &authorization, now)?;
    let issued = identify(request.headers, &authorization, issuer, now)?;
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
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ));
    }
    Ok(issued.principal)
}

struct Signature<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    hex: &'a str,
}

impl<'a> Signature<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, Refusal> {
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

    fn check_scope(&self, service: &Service<'_>) -> Result<(), Refusal> {
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

/// The one value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name);
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(forbidden("IncompleteSignatureException", format!("Exactly one '{name}' header is required."))),
    }
}

/// `20260101T000000Z` as a moment.
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

fn check_clock(date: &str, authorization: &Signature<'_>, now: SystemTime) -> Result<(), Refusal> {
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
    headers: &HeaderMap,
    authorization: &Signature<'_>,
    issuer: &Issuer,
    now: SystemTime,
) -> Result<Issued, Refusal> {
    let invalid = || forbidden("UnrecognizedClientException", "The security token included in the request is invalid.");
    let issued = issuer.find(authorization.access_key_id).ok_or_else(invalid)?;
    let token = single(headers, "x-amz-security-token").map_err(|_| invalid())?;
    if !equal(token.as_bytes(), issued.session_token.as_bytes()) {
        return Err(invalid());
    }
    if issued.expiry <= now {
        return Err(forbidden("ExpiredTokenException", "The security token included in the request is expired"));
    }
    Ok(issued)
}

/// AWS demands that `host` and every `x-amz-*` header be signed, in order and once.
fn check_signed_headers(
    headers: &HeaderMap,
    authorization: &Signature<'_>,
    service: &Service<'_>,
) -> Result<(), Refusal> {
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
    request: &Received<'_>,
    authorization: &Signature<'_>,
    date: &str,
    payload: &str,
    secret: &str,
) -> String {
    let canonical = [
        request.method,
        &canonical_path(request.path),
        &canonical_query(request.query),
        &canonical_headers(request, &authorization.signed_headers),
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

/// The path for every service but S3: redundant parts removed, then what was sent is encoded once more.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut canonical: String =
        segments.iter().flat_map(|segment| ["/".to_owned(), encode(segment.as_bytes())]).collect();
    if canonical.is_empty() || (path.ends_with('/') && !segments.is_empty()) {
        canonical.push('/');
    }
    canonical
}

/// The parameters, each decoded and encoded strictly, sorted by name and then by value.
fn canonical_query(query: &str) -> String {
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    parameters.sort();
    parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn canonical_headers(request: &Received<'_>, signed: &[&str]) -> String {
    let line = |name: &&str| {
        let values: Vec<String> = match *name {
            "host" => vec![request.host.to_owned()],
            name => request.headers.get_all(name).map(|value| trimmed(value.as_bytes())).collect(),
        };
        format!("{name}:{}\n", values.join(","))
    };
    signed.iter().map(line).collect()
}

/// Without outer white space, inner runs of spaces made one.
fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text + &char::from(*byte).to_string(),
        _ => text + &format!("%{byte:02X}"),
    })
}

fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text
            .get(at + 1..at + 3)
            .filter(|digits| bytes[at] == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that does not depend on where the difference is.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const KEY: &str = "AKIDEXAMPLE";
    const ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
    const ARN_HEADER: &str = "x-mlflow-sm-tracking-server-arn";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SERVICE: Service<'_> = Service { name: "sagemaker-mlflow", region: "us-east-1", must_sign: &[ARN_HEADER] };

    fn new_year() -> SystemTime {
        humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap()
    }

    fn issuer() -> Issuer {
        let issuer = Issuer::default();
        issuer.insert(Issued {
            access_key_id: KEY.into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: "TOKEN".into(),
            expiry: new_year() + Duration::from_secs(3600),
            principal: Principal::Role,
        });
        issuer
    }

    /// Vector 1 of botocore 1.44.5, with some headers replaced; an empty value removes a header.
    fn request(changes: &[(&str, &str)]) -> HeaderMap {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/sagemaker-mlflow/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date;{ARN_HEADER_SORTED}, \
             Signature=30d74463121a0caaf2e8aa8fd625a344a7fb00a3ded180e1d940d27143de5f5f",
            ARN_HEADER_SORTED = format_args!("x-amz-security-token;{ARN_HEADER}"),
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", authorization.as_str()),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20260101T000000Z"),
            ("x-amz-security-token", "TOKEN"),
            (ARN_HEADER, ARN),
            ("accept", "*/*"),
        ] {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        for (name, value) in changes {
            let name = HeaderName::try_from(*name).unwrap();
            headers.remove(&name);
            if !value.is_empty() {
                headers.insert(name, HeaderValue::try_from(*value).unwrap());
            }
        }
        headers
    }

    fn verdict(headers: &HeaderMap, now: SystemTime, body: &[u8]) -> Result<Principal, Refusal> {
        let sha256 = digest::digest(&digest::SHA256, body);
        let request = Received {
            method: "GET",
            path: "/api/2.0/mlflow/experiments/get-by-name",
            query: "experiment_name=exp%20%2B%20a%20b%2F%C3%BC",
            host: "us-east-1.experiments.sagemaker.aws",
            headers,
            body_sha256: sha256.as_ref(),
        };
        verify(&request, &SERVICE, &issuer(), now)
    }

    #[test]
    fn botocores_signature_is_accepted() {
        assert_eq!(verdict(&request(&[]), new_year(), b""), Ok(Principal::Role));
    }

    #[test]
    fn whatever_is_wrong_is_refused_in_awss_words() {
        let good = request(&[]);
        let authorization = good.get("authorization").unwrap().to_str().unwrap();
        let swapped = |from: &str, to: &str| authorization.replace(from, to);
        let minute = Duration::from_secs(60);
        for (name, value, now, body, code) in [
            ("authorization", String::new(), new_year(), "", "MissingAuthenticationTokenException"),
            ("authorization", "Bearer x".into(), new_year(), "", "IncompleteSignatureException"),
            ("authorization", swapped("aws4_request", "aws5"), new_year(), "", "IncompleteSignatureException"),
            ("authorization", swapped("Signature=3", "Signature=4"), new_year(), "", "InvalidSignatureException"),
            ("authorization", swapped("us-east-1", "eu-west-1"), new_year(), "", "InvalidSignatureException"),
            (
                "authorization",
                swapped("/sagemaker-mlflow/", "/sagemaker/"),
                new_year(),
                "",
                "InvalidSignatureException",
            ),
            ("authorization", swapped("/20260101/", "/20260102/"), new_year(), "", "InvalidSignatureException"),
            ("authorization", swapped("AKIDEXAMPLE", "AKIDOTHER"), new_year(), "", "UnrecognizedClientException"),
            ("authorization", swapped("host;", ""), new_year(), "", "InvalidSignatureException"),
            (
                "authorization",
                swapped(";x-mlflow-sm-tracking-server-arn", ""),
                new_year(),
                "",
                "InvalidSignatureException",
            ),
            ("x-mlflow-sm-tracking-server-arn", "arn:other".into(), new_year(), "", "InvalidSignatureException"),
            ("x-amz-security-token", "OTHER".into(), new_year(), "", "UnrecognizedClientException"),
            ("x-amz-security-token", String::new(), new_year(), "", "UnrecognizedClientException"),
            ("x-amz-extra", "unsigned".into(), new_year(), "", "InvalidSignatureException"),
            ("x-amz-date", "yesterday".into(), new_year(), "", "IncompleteSignatureException"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD".into(), new_year(), "", "InvalidSignatureException"),
            ("accept", "*/*".into(), new_year(), "smuggled", "XAmzContentSHA256Mismatch"),
            ("accept", "*/*".into(), new_year() + minute * 6, "", "InvalidSignatureException"),
            ("accept", "*/*".into(), new_year() - minute * 6, "", "InvalidSignatureException"),
            ("accept", "*/*".into(), new_year() + minute * 61, "", "InvalidSignatureException"),
        ] {
            let refused = verdict(&request(&[(name, &value)]), now, body.as_bytes());
            assert_eq!(refused.map_err(|refusal| refusal.code), Err(code), "{name}: {value}");
        }
    }

    #[test]
    fn expired_credentials_are_told_from_unknown_ones() {
        let issuer = issuer();
        issuer.insert(Issued { expiry: new_year(), ..issuer.find(KEY).unwrap() });
        let headers = request(&[]);
        let request =
            Received { method: "GET", path: "/", query: "", host: "h", headers: &headers, body_sha256: &[0; 32] };
        let refused = verify(&request, &SERVICE, &issuer, new_year());
        assert_eq!(refused.map_err(|refusal| refusal.code), Err("ExpiredTokenException"));
    }

    #[test]
    fn canonical_forms_are_those_of_the_specification() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a%20b", "/a%2520b"),
            ("/a//b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/~user/é", "/~user/%C3%A9"),
        ] {
            assert_eq!(canonical_path(path), expected, "{path}");
        }
        for (query, expected) in [
            ("", ""),
            ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="),
            ("a=%7e&b=a%2fb", "a=~&b=a%2Fb"),
            ("a=b=c", "a=b%3Dc"),
            ("a=+", "a=%2B"),
        ] {
            assert_eq!(canonical_query(query), expected, "{query}");
        }
    }
}
