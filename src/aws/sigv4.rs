//! Signs one upstream request with AWS Signature Version 4.
//!
//! Only an allow-list of headers is signed, so that a hop that rewrites any other header cannot break the signature. The path
//! and query must already be in normal form (`http::uri`); the exact strings that are passed here are the ones to send.
//!
//! `aws-sigv4` derives the key (`keys`). The canonical request is built here, because that crate decodes the query as UTF-8 text and so
//! signs another query than was sent if a byte in it is not UTF-8. From normal form, little more than sorting is left to do.
//!
//! Every request passes here, so values that hold for a second or a day are cached, and texts are built in place.

mod keys;

pub use keys::SigningKeys;

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderValue;
use aws_credential_types::Credentials;
use bytes::Bytes;
use ring::{digest, hmac};

/// Takes the place of the payload hash where the body is not part of the signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The SHA-256 of no bytes, in hex: the payload hash of a request without a body.
///
/// It is a `static`, so that it has one address, by which it is recognised.
pub static EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of a request that are signed, in the form in which they will be sent.
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

/// The headers that prove a signature. They are secrets, so there is no `Debug`.
pub struct RequestSignature {
    /// `x-amz-date`.
    pub date: HeaderValue,
    /// `x-amz-security-token`, if the credentials have one.
    pub token: Option<HeaderValue>,
    /// `authorization`.
    pub authorization: HeaderValue,
}

/// Signs for one service in one region. It caches, so it belongs to one thread.
pub struct Signer {
    region: String,
    service: &'static str,
    keys: SigningKeys,
    kept: RefCell<Option<CachedSigning>>,
}

/// The values that all signatures of one second for one host share.
struct CachedSigning {
    second: u64,
    host: String,
    routing: Option<(String, String)>,
    /// The credentials, which share their secrets with all who hold them.
    credentials: Credentials,
    date: HeaderValue,
    token: Option<HeaderValue>,
    /// The signature of the string to sign up to the hash of the canonical request. All signatures begin with it.
    begun: hmac::Context,
    /// The canonical headers before the hash of the body, and those behind it.
    headers: (String, String),
    /// The names of the signed headers, and the value of `authorization` up to the signature; without a `content-type`.
    plain: (String, String),
    /// The same with one.
    typed: (String, String),
    /// A buffer for the canonical request.
    room: Vec<u8>,
}

impl CachedSigning {
    fn new(signer: &Signer, request: &Signable<'_>, credentials: &Credentials, second: u64) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        // ISO 8601 basic form, `20260101T000000Z`.
        let mut date = humantime::format_rfc3339_seconds(time).to_string();
        date.retain(|character| !matches!(character, '-' | ':'));
        let (secret, token) = (credentials.secret_access_key(), credentials.session_token());
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
        let mut begun = hmac::Context::with_key(&signer.keys.of(secret, second, &signer.region, signer.service));
        begun.update(format!("{ALGORITHM}\n{date}\n{scope}\n").as_bytes());
        Self {
            second,
            host: request.host.to_owned(),
            routing: request.routing.map(|(name, value)| (name.to_owned(), value.to_owned())),
            credentials: credentials.clone(),
            token: token.map(|token| header_value(token.to_owned())),
            begun,
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
        // Credentials that have not been renewed are the same object, so their texts, of a kilobyte and more, are not compared.
        self.second == second
            && self.credentials == *credentials
            && self.host == request.host
            && self.routing.as_ref().map(|(name, value)| (name.as_str(), value.as_str())) == request.routing
    }

    fn sign(&mut self, request: &Signable<'_>) -> RequestSignature {
        let Self { begun, headers, plain, typed, room, .. } = self;
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
        let mut signature = begun.clone();
        signature.update(&digits(hashed.as_ref()));
        let authorization = [beginning.as_bytes(), &digits(signature.sign().as_ref())].concat();
        let authorization = header_value(authorization);
        RequestSignature { date: self.date.clone(), token: self.token.clone(), authorization }
    }
}

impl Signer {
    /// A signer for a service, by its signing name, in a region.
    #[must_use]
    pub fn new(region: impl Into<String>, service: &'static str) -> Self {
        Self::sharing(&SigningKeys::default(), region, service)
    }

    /// The same with keys that other signers of the thread use as well.
    #[must_use]
    pub fn sharing(keys: &SigningKeys, region: impl Into<String>, service: &'static str) -> Self {
        Self { region: region.into(), service, keys: keys.clone(), kept: RefCell::default() }
    }

    /// Signs `request` as sent at `time`. The caller sends, beside what is in the request and in the signature,
    /// `x-amz-content-sha256`.
    #[must_use]
    pub fn sign(&self, request: &Signable<'_>, credentials: &Credentials, time: SystemTime) -> RequestSignature {
        let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut kept = self.kept.borrow_mut();
        let kept = match kept.take() {
            Some(known) if known.is_of(request, credentials, second) => kept.insert(known),
            _ => kept.insert(CachedSigning::new(self, request, credentials, second)),
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
    // The usual case.
    if !path.is_empty() && !bytes.contains(&b'%') && !bytes.windows(2).any(|pair| pair == b"//") {
        return push(canonical, &[path]);
    }
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

/// Returns the text without outer white space, and with one space for each inner run of white space.
fn collapsed(value: &str) -> Cow<'_, str> {
    if value.bytes().all(|byte| byte > b' ') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns a SHA-256 in hex, without an allocation.
fn digits(hash: &[u8]) -> [u8; 2 * digest::SHA256_OUTPUT_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * digest::SHA256_OUTPUT_LEN];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

#[cfg(test)]
mod tests;
