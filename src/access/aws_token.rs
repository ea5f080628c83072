//! The token with which a job proves its AWS identity: a presigned `GetCallerIdentity` request for one appliance.
//!
//! `mlfaws.` and base64url of `{"audience": …, "url": …}`. The URL is signed with the job's AWS credentials together with a
//! header that has the audience, so STS rejects it for another audience. The appliance never sends the URL itself: it takes it
//! apart, accepts only the parts below, and writes the request anew for the STS endpoint of the region.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// The prefix of every token.
pub const PREFIX: &str = "mlfaws.";
/// The signed header that has the audience.
pub const AUDIENCE_HEADER: &str = "x-mlflow-appliance-audience";
/// The longest lifetime of a token. AWS accepts no older presigned request to STS.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(900);
/// The parameters of the request that are the same in every token.
pub const OPERATION: [(&str, &str); 2] = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
/// Session tokens have up to some thousand characters. Load balancers pass on header lines of 16 KiB.
const LENGTH_LIMIT: usize = 12 * 1024;
/// AWS accepts signatures of clocks that are ahead by as much.
const CLOCK_SKEW: Duration = Duration::from_mins(5);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SIGNED_HEADERS: &str = "host;x-mlflow-appliance-audience";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// All characters that a query has to escape (RFC 3986).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The reason why a token is rejected. None of these texts contains a part of the signed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsTokenError {
    /// This appliance accepts no AWS identities.
    #[error("this appliance accepts no AWS identities, because `aws-audience` is not set")]
    NotConfigured,
    /// Longer than any that AWS's credentials need.
    #[error("it is longer than {LENGTH_LIMIT} characters")]
    TooLong,
    /// The token is not base64url, or has not the expected JSON in it.
    #[error("it is malformed")]
    Malformed,
    /// Made for another appliance.
    #[error("it is for the audience `{}`", .0.escape_debug())]
    Audience(String),
    /// Made for a region that is not allowed.
    #[error("it is for the STS of a region that is not among `aws-regions`")]
    Region,
    /// Made for another host than the region's STS endpoint.
    #[error("it is for another host than the STS endpoint of its region")]
    Host,
    /// A parameter is missing, unknown, repeated or not as it should be.
    #[error("the parameter `{0}` of its request is missing, repeated or invalid")]
    Parameter(&'static str),
    /// There is a parameter that is not known.
    #[error("its request has a parameter that is not known")]
    UnknownParameter,
    /// Valid from a later time.
    #[error("it is dated more than five minutes ahead of this machine's clock")]
    NotYetValid,
    /// Expired.
    #[error("it has expired")]
    Expired,
    /// AWS rejected it; with the code of AWS, which is a word.
    #[error("AWS rejected it ({code}): {reason}")]
    Aws {
        /// AWS's name for the error.
        code: String,
        /// Our explanation. AWS's own message repeats the request, with the session token.
        reason: &'static str,
    },
    /// AWS accepted it, but no grant is for this identity.
    #[error("no `[[caller]]` has a `principal` that matches `{0}`")]
    NoGrant(String),
}

/// The content of a token.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    audience: String,
    url: String,
}

/// The audience, and for each region the authority of its STS endpoint, as the signature has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedRequest {
    /// The audience.
    pub audience: String,
    /// Regions with the value of `Host`.
    pub hosts: Vec<(String, String)>,
}

/// A token of the right form, which AWS has not confirmed yet.
#[derive(Debug)]
pub struct UnconfirmedToken {
    /// The position of the region in [`ExpectedRequest::hosts`].
    pub region: usize,
    target: SecretString,
    /// The end of its validity.
    pub expires: SystemTime,
    /// The hash of the target. Two spellings of one token have the same.
    pub fingerprint: Fingerprint,
}

/// A SHA-256.
pub type Fingerprint = [u8; 32];

/// Returns the hash of a text.
#[must_use]
pub fn fingerprint(text: &str) -> Fingerprint {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Checks an audience: a URL or a name that fits into a header and is signed as it stands.
///
/// # Errors
/// The valid form.
pub fn check_audience(text: &str) -> Result<(), &'static str> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err("an audience has 1 to 255 ASCII characters, none of which is a space") }
}

/// Makes a token of a presigned URL.
#[must_use]
pub fn token(audience: &str, url: &str) -> SecretString {
    let envelope = Envelope { audience: audience.to_owned(), url: url.to_owned() };
    let json = serde_json::to_vec(&envelope).expect("two texts are JSON");
    format!("{PREFIX}{}", BASE64.encode(json)).into()
}

impl UnconfirmedToken {
    /// Returns path and query of the request to STS, in one normal form.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.expose_secret()
    }

    /// Parses a token, and checks all that can be checked without AWS.
    ///
    /// # Errors
    /// [`AwsTokenError`].
    pub fn parse(text: &str, expected: &ExpectedRequest, now: SystemTime) -> Result<Self, AwsTokenError> {
        use AwsTokenError::Parameter;
        if text.len() > LENGTH_LIMIT {
            return Err(AwsTokenError::TooLong);
        }
        let text = text.strip_prefix(PREFIX).ok_or(AwsTokenError::Malformed)?;
        let json = BASE64.decode(text).map_err(|_| AwsTokenError::Malformed)?;
        // `serde` would read a list as well.
        let json =
            Some(json.trim_ascii_start()).filter(|json| json.starts_with(b"{")).ok_or(AwsTokenError::Malformed)?;
        let Envelope { audience, url } = serde_json::from_slice(json).map_err(|_| AwsTokenError::Malformed)?;
        if audience != expected.audience {
            check_audience(&audience).map_err(|_| AwsTokenError::Malformed)?;
            return Err(AwsTokenError::Audience(audience));
        }
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let (host, query) = rest.and_then(|rest| rest.split_once("/?")).ok_or(AwsTokenError::Malformed)?;
        let given = Parameters::parse(query)?;
        for (name, value) in OPERATION {
            given.require(name, |text| text == value)?;
        }
        given.require("X-Amz-Algorithm", |text| text == ALGORITHM)?;
        // SECURITY: STS sees no header that a token could choose. The signature must cover the audience, and nothing else of
        // which the appliance knows nothing.
        given.require("X-Amz-SignedHeaders", |text| text == SIGNED_HEADERS)?;
        given.require("X-Amz-Signature", |text| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })?;
        let scope: Vec<&str> = given.get("X-Amz-Credential")?.split('/').collect();
        let [key_id, day, region, "sts", "aws4_request"] = scope[..] else {
            return Err(Parameter("X-Amz-Credential"));
        };
        if !(16..=128).contains(&key_id.len()) || !key_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Parameter("X-Amz-Credential"));
        }
        let region = expected.hosts.iter().position(|(name, _)| name == region).ok_or(AwsTokenError::Region)?;
        if host != expected.hosts[region].1 {
            return Err(AwsTokenError::Host);
        }
        if let Some(token) = given.0.get("X-Amz-Security-Token")
            && (token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(Parameter("X-Amz-Security-Token"));
        }
        let date = given.get("X-Amz-Date")?;
        let signed = date_of(date).filter(|_| date.starts_with(day)).ok_or(Parameter("X-Amz-Date"))?;
        let lifetime = given.get("X-Amz-Expires")?;
        let lifetime = lifetime.parse().ok().filter(|_| !lifetime.starts_with(['+', '0'])).map(Duration::from_secs);
        let lifetime = lifetime.filter(|lifetime| *lifetime <= LONGEST_LIFETIME).ok_or(Parameter("X-Amz-Expires"))?;
        if signed > now + CLOCK_SKEW {
            return Err(AwsTokenError::NotYetValid);
        }
        // A clock that is ahead does not make the token live longer.
        let expires = signed.min(now) + lifetime;
        if expires <= now {
            return Err(AwsTokenError::Expired);
        }
        let target = given.target();
        Ok(Self { region, fingerprint: fingerprint(&target), target: target.into(), expires })
    }
}

/// The decoded parameters of a query.
struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// The names that a query may have, each once.
    const NAMES: [&'static str; 9] = [
        "Action",
        "Version",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    ];

    fn parse(query: &str) -> Result<Self, AwsTokenError> {
        let mut parameters = BTreeMap::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(AwsTokenError::UnknownParameter)?;
            let known = Self::NAMES.into_iter().find(|known| *known == name);
            let name = known.ok_or(AwsTokenError::UnknownParameter)?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| AwsTokenError::Parameter(name))?;
            if parameters.insert(name, value.into_owned()).is_some() {
                return Err(AwsTokenError::Parameter(name));
            }
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &'static str) -> Result<&str, AwsTokenError> {
        self.0.get(name).map(String::as_str).ok_or(AwsTokenError::Parameter(name))
    }

    fn require(&self, name: &'static str, is_valid: impl Fn(&str) -> bool) -> Result<(), AwsTokenError> {
        if is_valid(self.get(name)?) { Ok(()) } else { Err(AwsTokenError::Parameter(name)) }
    }

    /// Writes path and query in normal form, sorted.
    fn target(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)));
        format!("/?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

/// Parses a date such as `20260101T000000Z`.
fn date_of(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes[at].is_ascii_digit();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' || !(0..8).chain(9..15).all(is_digit) {
        return None;
    }
    let part = |from: usize, to: usize| &text[from..to];
    let [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)];
    let [hour, minute, second] = [part(9, 11), part(11, 13), part(13, 15)];
    let time = humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()?;
    (time >= UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests;
