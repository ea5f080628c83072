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

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderValue;
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use bytes::Bytes;
use ring::{digest, hmac};

/// Stands for the payload hash of a body that is not part of the signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
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

/// What is the same in all signatures of one second for one host.
struct Kept {
    second: u64,
    host: String,
    routing: Option<(String, String)>,
    id: String,
    secret: String,
    session: Option<String>,
    date: HeaderValue,
    token: Option<HeaderValue>,
    /// Deriving it costs four HMACs, as much as the rest of a signature.
    key: hmac::Key,
    /// What is signed, up to the hash of the canonical request.
    to_sign: String,
    /// The canonical headers before the hash of the body, and those behind it.
    headers: (String, String),
    /// The names of the signed headers, and the value of `authorization` up to the signature; without a `content-type`.
    plain: (String, String),
    /// The same with one.
    typed: (String, String),
    /// Room for texts that are hashed.
    room: Vec<u8>,
}

impl Kept {
    fn new(signer: &Signer, request: &Signable<'_>, credentials: &Credentials, second: u64) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        // ISO 8601 basic form, `20260101T000000Z`.
        let mut date = humantime::format_rfc3339_seconds(time).to_string();
        date.retain(|character| !matches!(character, '-' | ':'));
        let (secret, token) = (credentials.secret_access_key(), credentials.session_token());
        let key = generate_signing_key(secret, time, &signer.region, signer.service);
        let scope = format!("{}/{}/{}/aws4_request", &date[..8], signer.region, signer.service);
        let headers = [
            Some(("content-type", "")),
            Some(("host", request.host)),
            Some(("x-amz-content-sha256", "")),
            Some(("x-amz-date", date.as_str())),
            token.map(|token| ("x-amz-security-token", token)),
            request.routing,
        ];
        let headers: Vec<(&str, &str)> = headers.into_iter().flatten().collect();
        debug_assert!(headers.is_sorted());
        let line = |(name, value): &(&str, &str)| format!("{name}:{}\n", collapsed(value));
        let naming = |headers: &[(&str, &str)]| {
            let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
            let id = credentials.access_key_id();
            let beginning = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature=");
            (names, beginning)
        };
        Self {
            second,
            host: request.host.to_owned(),
            routing: request.routing.map(|(name, value)| (name.to_owned(), value.to_owned())),
            id: credentials.access_key_id().to_owned(),
            secret: secret.to_owned(),
            session: token.map(ToOwned::to_owned),
            token: token.map(|token| header_value(token.to_owned())),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            to_sign: format!("{ALGORITHM}\n{date}\n{scope}\n"),
            headers: (
                format!("{}x-amz-content-sha256:", line(&headers[1])),
                format!("\n{}\n", headers[3..].iter().map(line).collect::<String>()),
            ),
            plain: naming(&headers[1..]),
            typed: naming(&headers),
            room: Vec::with_capacity(1024),
            date: header_value(date),
        }
    }

    fn is_of(&self, request: &Signable<'_>, credentials: &Credentials, second: u64) -> bool {
        self.second == second
            && self.host == request.host
            && self.routing.as_ref().map(|(name, value)| (name.as_str(), value.as_str())) == request.routing
            && self.id == credentials.access_key_id()
            && self.secret == credentials.secret_access_key()
            && self.session.as_deref() == credentials.session_token()
    }

    fn sign(&mut self, request: &Signable<'_>) -> Signature {
        let Self { key, to_sign, headers, plain, typed, room, .. } = self;
        let (names, beginning) = if request.content_type.is_some() { typed } else { plain };
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        room.clear();
        push(room, &[request.method, "\n"]);
        push_path(room, path);
        push(room, &["\n"]);
        push_query(room, query);
        push(room, &["\n"]);
        if let Some(content_type) = request.content_type {
            push(room, &["content-type:", &collapsed(content_type), "\n"]);
        }
        push(room, &[&headers.0, request.payload_sha256, &headers.1, names, "\n", request.payload_sha256]);
        let hashed = digest::digest(&digest::SHA256, room);
        room.clear();
        push(room, &[to_sign]);
        push_hex(room, hashed.as_ref());
        let signature = hmac::sign(key, room);
        let mut authorization = Vec::with_capacity(beginning.len() + 64);
        push(&mut authorization, &[beginning]);
        push_hex(&mut authorization, signature.as_ref());
        let authorization = header_value(authorization);
        Signature { date: self.date.clone(), token: self.token.clone(), authorization }
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
            Some(known) if known.is_of(request, credentials, second) => kept.insert(known),
            _ => kept.insert(Kept::new(self, request, credentials, second)),
        };
        kept.sign(request)
    }
}

fn header_value(text: impl Into<Vec<u8>>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text.into())).expect("dates, tokens and signatures are ASCII")
}

fn push(text: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
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
fn collapsed(value: &str) -> Cow<'_, str> {
    if value.bytes().all(|byte| byte > b' ') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
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
    for byte in bytes {
        text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
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
    fn what_is_kept_follows_the_day_the_credentials_and_the_host() {
        let signer = Signer::new("us-east-1", "sagemaker");
        let request = Signable {
            method: "GET",
            target: "/",
            host: "h",
            content_type: None,
            routing: None,
            payload_sha256: EMPTY_SHA256,
        };
        let credentials = |(id, secret, token): (&str, &str, Option<&str>)| {
            Credentials::new(id, secret, token.map(ToOwned::to_owned), None, "test")
        };
        let day = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * number);
        let all = |signer: &Signer, parts, host, number| {
            let signature = signer.sign(&Signable { host, ..request }, &credentials(parts), day(number));
            (signature.date, signature.token, signature.authorization)
        };
        let first = ("id", "secret", Some("token"));
        for (parts, host, number) in [
            (first, "h", 1),
            (first, "h", 1),
            (first, "h", 2),
            (("other", "secret", Some("token")), "h", 2),
            (("other", "changed", Some("token")), "h", 2),
            (("other", "changed", Some("renewed")), "h", 2),
            (("other", "changed", None), "h", 2),
            (("other", "changed", None), "elsewhere", 2),
            (first, "h", 1),
        ] {
            let fresh = all(&Signer::new("us-east-1", "sagemaker"), parts, host, number);
            assert_eq!(all(&signer, parts, host, number), fresh, "{parts:?} {host} on day {number}");
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
        assert_eq!(collapsed("  a/b ;  c=d\t "), "a/b ; c=d");
    }
}
