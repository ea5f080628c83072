//! Signs one upstream request with AWS Signature Version 4.
//!
//! Only what this file is given is signed: an allow-list of headers, so that a hop that rewrites any other header
//! cannot break the signature. The path and query must already be in normal form (`http::uri`); the exact strings
//! that are passed here are the ones to send.
//!
//! Key and signature are computed by `aws-sigv4`. The canonical request is put together here, because that crate's
//! decodes the query as UTF-8 text on the way and so signs another query than was sent when a byte in it is not
//! UTF-8; and because from normal form it is a matter of sorting.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest, Sha256};

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
    pub date: String,
    /// `authorization`.
    pub authorization: String,
}

/// Signs for one service in one region. Keeps the day's key, so it belongs to one thread.
pub struct Signer {
    region: String,
    service: &'static str,
    key: RefCell<Option<Key>>,
}

/// The key derived from a secret for a day; deriving it costs four HMACs, as much as the rest of a signature.
struct Key {
    day: String,
    secret: String,
    bytes: Vec<u8>,
}

impl Signer {
    /// A signer for a service, by its signing name, in a region.
    #[must_use]
    pub fn new(region: impl Into<String>, service: &'static str) -> Self {
        Self { region: region.into(), service, key: RefCell::default() }
    }

    /// Signs `request` as sent at `time`. The caller sends, beside what is in the request, `x-amz-content-sha256`
    /// and, if the credentials have one, `x-amz-security-token`: both are part of the signature.
    #[must_use]
    pub fn sign(&self, request: &Signable<'_>, credentials: &Credentials, time: SystemTime) -> Signature {
        let date = basic_date(time);
        let day = &date[..8];
        let headers = signed_headers(request, &date, credentials.session_token());
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical = canonical_request(request, &headers, &names);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hashed = hex(&Sha256::digest(canonical));
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hashed}");
        let signature = self.with_key(credentials, day, time, |key| calculate_signature(key, to_sign.as_bytes()));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key_id()
        );
        Signature { date, authorization }
    }

    fn with_key<T>(&self, credentials: &Credentials, day: &str, time: SystemTime, then: impl FnOnce(&[u8]) -> T) -> T {
        let mut cached = self.key.borrow_mut();
        let secret = credentials.secret_access_key();
        let key = match cached.take() {
            Some(key) if key.day == day && key.secret == secret => key,
            _ => Key {
                day: day.to_owned(),
                secret: secret.to_owned(),
                bytes: generate_signing_key(secret, time, &self.region, self.service).as_ref().to_vec(),
            },
        };
        then(&cached.insert(key).bytes)
    }
}

/// The headers that are signed, sorted by name.
fn signed_headers<'a>(request: &Signable<'a>, date: &'a str, token: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let headers = [
        request.content_type.map(|value| ("content-type", value)),
        Some(("host", request.host)),
        Some(("x-amz-content-sha256", request.payload_sha256)),
        Some(("x-amz-date", date)),
        token.map(|value| ("x-amz-security-token", value)),
        request.routing,
    ];
    let headers: Vec<_> = headers.into_iter().flatten().collect();
    debug_assert!(headers.is_sorted());
    headers
}

fn canonical_request(request: &Signable<'_>, headers: &[(&str, &str)], names: &str) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let mut canonical = String::with_capacity(512 + request.target.len());
    canonical.push_str(request.method);
    canonical.push('\n');
    push_path(&mut canonical, path);
    canonical.push('\n');
    push_query(&mut canonical, query);
    canonical.push('\n');
    for (name, value) in headers {
        canonical.push_str(name);
        canonical.push(':');
        push_value(&mut canonical, value);
        canonical.push('\n');
    }
    let _ = write!(canonical, "\n{names}\n{}", request.payload_sha256);
    canonical
}

/// Empty segments are left out, and every byte that is not unreserved is escaped once more. In normal form the only
/// such byte is the percent sign, and there are no dot segments.
fn push_path(canonical: &mut String, path: &str) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    let is_root = segments.peek().is_none();
    for segment in segments {
        canonical.push('/');
        canonical.push_str(&segment.replace('%', "%25"));
    }
    if is_root || path.ends_with('/') {
        canonical.push('/');
    }
}

/// The pairs sorted by name and value; a name alone has an empty value.
fn push_query(canonical: &mut String, query: &str) {
    let pair = |text| str::split_once(text, '=').unwrap_or((text, ""));
    let mut pairs: Vec<_> = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
    pairs.sort_unstable();
    for (number, (name, value)) in pairs.into_iter().enumerate() {
        let separator = if number == 0 { "" } else { "&" };
        let _ = write!(canonical, "{separator}{name}={value}");
    }
}

/// Without outer white space, and inner runs of it as one space.
fn push_value(canonical: &mut String, value: &str) {
    for (number, word) in value.split_ascii_whitespace().enumerate() {
        if number > 0 {
            canonical.push(' ');
        }
        canonical.push_str(word);
    }
}

/// ISO 8601 basic form, `20260101T000000Z`.
fn basic_date(time: SystemTime) -> String {
    let mut date = humantime::format_rfc3339_seconds(time).to_string();
    date.retain(|character| !matches!(character, '-' | ':'));
    date
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
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
            let authorization = signature.authorization;
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
            let mut canonical = String::new();
            push_path(&mut canonical, path);
            assert_eq!(canonical, expected, "{path}");
        }
        for (query, expected) in
            [("", ""), ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="), ("%FF=1", "%FF=1"), ("a-=1&a=2", "a=2&a-=1")]
        {
            let mut canonical = String::new();
            push_query(&mut canonical, query);
            assert_eq!(canonical, expected, "{query}");
        }
        let mut canonical = String::new();
        push_value(&mut canonical, "  a/b ;  c=d\t ");
        assert_eq!(canonical, "a/b ; c=d");
    }
}
