//! Signs one upstream request with AWS Signature Version 4.
//!
//! Only what this file is given is signed: an allow-list of headers, so that a hop that rewrites any other header
//! cannot break the signature. The path and query must already be in normal form (`http::uri`); the exact strings
//! that are passed here are the ones to send.
//!
//! The key is derived by `aws-sigv4`. The canonical request is put together here, because that crate's
//! decodes the query as UTF-8 text on the way and so signs another query than was sent when a byte in it is not
//! UTF-8; and because from normal form it is a matter of sorting.
//!
//! Every request passes here, so what holds for a second or for a day is kept, and texts are put together in place.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderValue;
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use bytes::Bytes;
use ring::{digest, hmac};

/// SHA-256 of nothing, in hex: the payload hash of a request without a body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed of a request, in the form in which it will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Path and query in normal form.
    pub target: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// `Content-Type`, if the request has one.
    pub content_type: Option<&'a str>,
    /// A further header to sign, whose name sorts after `x-amz-`; for MLflow, the one that routes by ARN.
    pub routing: Option<(&'a str, &'a str)>,
    /// SHA-256 of the body in lower-case hex.
    pub payload_sha256: &'a str,
}

/// The headers that make a request acceptable. They are secrets: there is no `Debug`.
pub struct Signature {
    /// `x-amz-date`.
    pub date: HeaderValue,
    /// `x-amz-security-token`, if the credentials have one.
    pub token: Option<HeaderValue>,
    /// `authorization`.
    pub authorization: HeaderValue,
}

/// Signs for one service in one region. Keeps what can be used again, so it belongs to one thread.
pub struct Signer {
    region: String,
    service: &'static str,
    kept: RefCell<Option<Kept>>,
}

/// What the signatures of one second have in common, and, as far as the day and the credentials go, those of others.
struct Kept {
    second: u64,
    date: HeaderValue,
    scope: String,
    secret: String,
    session: Option<String>,
    token: Option<HeaderValue>,
    /// Deriving it costs four HMACs, as much as the rest of a signature.
    key: hmac::Key,
    /// Room for texts that are hashed.
    room: Vec<u8>,
}

impl Kept {
    fn new(signer: &Signer, credentials: &Credentials, second: u64, room: Vec<u8>) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        let mut date = humantime::format_rfc3339_seconds(time).to_string();
        date.retain(|character| !matches!(character, '-' | ':'));
        let secret = credentials.secret_access_key();
        let key = generate_signing_key(secret, time, &signer.region, signer.service);
        Self {
            second,
            scope: format!("{}/{}/{}/aws4_request", &date[..8], signer.region, signer.service),
            date: header_value(date),
            secret: secret.to_owned(),
            session: credentials.session_token().map(ToOwned::to_owned),
            token: credentials.session_token().map(|token| header_value(token.to_owned())),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            room,
        }
    }

    fn is_of(&self, credentials: &Credentials, second: u64) -> bool {
        self.second == second
            && self.secret == credentials.secret_access_key()
            && self.session.as_deref() == credentials.session_token()
    }

    /// ISO 8601 basic form, `20260101T000000Z`.
    fn date(&self) -> &str {
        self.date.to_str().expect("it was text")
    }
}

impl Signer {
    /// A signer for a service, by its signing name, in a region.
    #[must_use]
    pub fn new(region: impl Into<String>, service: &'static str) -> Self {
        Self { region: region.into(), service, kept: RefCell::default() }
    }

    /// Signs `request` as sent at `time`. The caller sends, beside what is in the request and in the signature,
    /// `x-amz-content-sha256`.
    #[must_use]
    pub fn sign(&self, request: &Signable<'_>, credentials: &Credentials, time: SystemTime) -> Signature {
        let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut kept = self.kept.borrow_mut();
        let kept = match kept.take() {
            Some(known) if known.is_of(credentials, second) => kept.insert(known),
            other => {
                let room = other.map(|other| other.room).unwrap_or_default();
                kept.insert(Kept::new(self, credentials, second, room))
            }
        };
        let mut text = std::mem::take(&mut kept.room);
        text.clear();
        let headers = signed_headers(request, kept.date(), credentials.session_token());
        push_canonical_request(&mut text, request, &headers);
        let hashed = digest::digest(&digest::SHA256, &text);
        text.clear();
        push(&mut text, &[ALGORITHM, "\n", kept.date(), "\n", &kept.scope, "\n"]);
        push_hex(&mut text, hashed.as_ref());
        let signature = hmac::sign(&kept.key, &text);
        let mut authorization = Vec::with_capacity(384);
        let id = credentials.access_key_id();
        push(&mut authorization, &[ALGORITHM, " Credential=", id, "/", &kept.scope, ", SignedHeaders="]);
        push_names(&mut authorization, &headers);
        push(&mut authorization, &[", Signature="]);
        push_hex(&mut authorization, signature.as_ref());
        kept.room = text;
        Signature { date: kept.date.clone(), token: kept.token.clone(), authorization: header_value(authorization) }
    }
}

fn header_value(text: impl Into<Vec<u8>>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text.into())).expect("dates, tokens and signatures are ASCII")
}

/// The headers that are signed, sorted by name, one of which may be missing.
type Headers<'a> = [Option<(&'a str, &'a str)>; 6];

fn signed_headers<'a>(request: &Signable<'a>, date: &'a str, token: Option<&'a str>) -> Headers<'a> {
    let headers = [
        request.content_type.map(|value| ("content-type", value)),
        Some(("host", request.host)),
        Some(("x-amz-content-sha256", request.payload_sha256)),
        Some(("x-amz-date", date)),
        token.map(|value| ("x-amz-security-token", value)),
        request.routing,
    ];
    debug_assert!(headers.iter().flatten().is_sorted());
    headers
}

fn push(text: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
}

fn push_names(text: &mut Vec<u8>, headers: &Headers<'_>) {
    for (number, (name, _)) in headers.iter().flatten().enumerate() {
        push(text, &[if number > 0 { ";" } else { "" }, name]);
    }
}

fn push_canonical_request(canonical: &mut Vec<u8>, request: &Signable<'_>, headers: &Headers<'_>) {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    push(canonical, &[request.method, "\n"]);
    push_path(canonical, path);
    push(canonical, &["\n"]);
    push_query(canonical, query);
    push(canonical, &["\n"]);
    for (name, value) in headers.iter().flatten() {
        push(canonical, &[name, ":"]);
        push_value(canonical, value);
        push(canonical, &["\n"]);
    }
    push(canonical, &["\n"]);
    push_names(canonical, headers);
    push(canonical, &["\n", request.payload_sha256]);
}

/// Empty segments are left out, and every byte that is not unreserved is escaped once more. In normal form the only
/// such byte is the percent sign, and there are no dot segments.
fn push_path(canonical: &mut Vec<u8>, path: &str) {
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {}
            b'%' => push(canonical, &["%25"]),
            other => canonical.push(*other),
        }
    }
    if path.is_empty() {
        canonical.push(b'/');
    }
}

/// The pairs sorted by name and value; a name alone has an empty value.
fn push_query(canonical: &mut Vec<u8>, query: &str) {
    let pair = |text| str::split_once(text, '=').unwrap_or((text, ""));
    let mut pairs: Vec<_> = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
    pairs.sort_unstable();
    for (number, (name, value)) in pairs.into_iter().enumerate() {
        push(canonical, &[if number > 0 { "&" } else { "" }, name, "=", value]);
    }
}

/// Without outer white space, and inner runs of it as one space.
fn push_value(canonical: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|byte| byte > b' ') {
        return push(canonical, &[value]);
    }
    for (number, word) in value.split_ascii_whitespace().enumerate() {
        push(canonical, &[if number > 0 { " " } else { "" }, word]);
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    String::from_utf8(text).expect("digits are ASCII")
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mlflow::{arn::Arn, target::Target};

    const TRACKING: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
    const APP: &str = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456";
    const JSON: Option<&str> = Some("application/json");
    /// Of `{"name":"x"}`.
    const NAME_X_SHA256: &str = "0229d37e33daae149bf40543a5ce1db4459d10f830d5139279aa2bfd5f6485a1";

    /// Mode, method, target, content type, SHA-256 of the body, signature.
    type Vector = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str, &'static str);

    /// Computed by botocore 1.44.5 (`SigV4Auth`) for 2026-01-01T00:00:00Z.
    #[rustfmt::skip]
    const VECTORS: [Vector; 8] = [
        (TRACKING, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=exp%20%2B%20a%20b%2F%C3%BC", None, EMPTY_SHA256,
            "30d74463121a0caaf2e8aa8fd625a344a7fb00a3ded180e1d940d27143de5f5f"),
        (TRACKING, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
            "a1538b635e026137af6203d794c32c735cb23480e48c995419db0e5ea0ea1d73"),
        (APP, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
            "95580e0e95db451a3088d8d8bc0e8123f9e8035383836317053983623472c59a"),
        (TRACKING, "GET", "/api/2.0/mlflow-artifacts/artifacts/d%20ir%2Bx/a%20b%2Bc%20%C3%A9", None, EMPTY_SHA256,
            "30da97525c6b020276a3e0013af47bff66fe834d04e95952edc1b157aa165271"),
        (TRACKING, "PUT", "/api/2.0/mlflow-artifacts/artifacts/empty.txt", Some("text/plain"), EMPTY_SHA256,
            "56e8ec5f6772e599dc6e9d32612851697d6857e0a148abd690a7bc452ad19e99"),
        (APP, "GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id=b&run_id=a&metric_key=m&max_results=", None, EMPTY_SHA256,
            "b2da76fef19aeac2fb8028c87200ee1360a912840f3f32ff62006a8d8da3600c"),
        (APP, "GET", "/gateway/gemini/v1beta/models/x%3AgenerateContent", None, EMPTY_SHA256,
            "1b1e44e9cd465977bea5077f2d8cfce91e62897c9293846786cf49d1e56acab0"),
        (APP, "GET", "/", None, EMPTY_SHA256,
            "1a573c286a0b664ba76b6e74ba04558b6e091a69e91fd087f6d1c8f62e5c650c"),
    ];

    #[test]
    fn botocores_golden_signatures_are_reproduced() {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("TOKEN".to_owned()),
            None,
            "golden",
        );
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (number, (arn, method, path, content_type, payload_sha256, expected)) in (1..).zip(VECTORS) {
            let target = Target::new(Arn::parse(arn).expect(arn));
            let request = Signable {
                method,
                target: path,
                host: &target.host(),
                content_type,
                routing: Some((target.arn_header(), arn)),
                payload_sha256,
            };
            let signer = Signer::new(target.arn().region(), target.signing_name());
            let signature = signer.sign(&request, &credentials, time);
            assert_eq!(signature.date, "20260101T000000Z");
            let authorization = signature.authorization.to_str().expect("text");
            assert!(authorization.ends_with(&format!("Signature={expected}")), "vector {number}: {authorization}");
        }
    }

    #[test]
    fn the_key_follows_the_day_and_the_credentials() {
        let signer = Signer::new("us-east-1", "sagemaker");
        let request = Signable {
            method: "GET",
            target: "/",
            host: "h",
            content_type: None,
            routing: None,
            payload_sha256: EMPTY_SHA256,
        };
        let credentials = |secret: &str| Credentials::new("AKID", secret, None, None, "test");
        let day = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * number);
        let sign = |secret, number| signer.sign(&request, &credentials(secret), day(number)).authorization;
        let fresh = |secret, number| {
            Signer::new("us-east-1", "sagemaker").sign(&request, &credentials(secret), day(number)).authorization
        };
        for (secret, number) in [("a", 1), ("a", 1), ("a", 2), ("b", 2), ("a", 1)] {
            assert_eq!(sign(secret, number), fresh(secret, number), "{secret} on day {number}");
        }
    }

    #[test]
    fn canonical_parts_come_from_normal_form() {
        for (path, expected) in
            [("/", "/"), ("//", "/"), ("/a%20b", "/a%2520b"), ("//a//b/", "/a/b/"), ("/a%2Fb/~c", "/a%252Fb/~c")]
        {
            let mut canonical = Vec::new();
            push_path(&mut canonical, path);
            assert_eq!(canonical, expected.as_bytes(), "{path}");
        }
        for (query, expected) in
            [("", ""), ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="), ("%FF=1", "%FF=1"), ("a-=1&a=2", "a=2&a-=1")]
        {
            let mut canonical = Vec::new();
            push_query(&mut canonical, query);
            assert_eq!(canonical, expected.as_bytes(), "{query}");
        }
        let mut canonical = Vec::new();
        push_value(&mut canonical, "  a/b ;  c=d\t ");
        assert_eq!(canonical, b"a/b ; c=d");
    }
}
