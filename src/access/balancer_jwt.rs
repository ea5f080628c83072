//! The JWT in `x-amzn-oidc-data`, in which an Application Load Balancer describes a user who has signed in there.
//!
//! It is signed with ES256 by a key that AWS publishes per region. Two things differ from an ordinary JWT: the header
//! holds `signer` and `exp`, and all parts are base64url *with* padding, which common JWT libraries refuse.
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>)

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::grant::Subject;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Claims of a user in many groups; headers are limited to less.
const LENGTH_LIMIT: usize = 64 * 1024;
/// The balancer's clock may be ahead or behind by as much. Seconds.
const LEEWAY_S: u64 = 60;
/// The bytes before the point in the DER of a public key on P-256 (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The signer, the issuer and the client whose JWTs are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedBalancerJwt {
    /// ARN of the load balancer.
    pub signer: String,
    /// The identity provider.
    pub issuer: String,
    /// The client id at the provider; any if it is not set.
    pub client: Option<String>,
}

/// A key that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// The reason why a JWT is rejected. None of these texts contains a part of the JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalancerJwtError {
    /// The token is not three parts of base64url, or has not the expected JSON in it.
    #[error("it is malformed")]
    Malformed,
    /// Another algorithm than ES256.
    #[error("it is not signed with ES256")]
    Algorithm,
    /// Signed by another load balancer.
    #[error("it was signed by another load balancer")]
    Signer,
    /// From another identity provider.
    #[error("it is from another identity provider")]
    Issuer,
    /// Meant for another application.
    #[error("it is meant for another client of the identity provider")]
    Client,
    /// Expired.
    #[error("it has expired")]
    Expired,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// There is no key of that name, or it cannot be obtained.
    #[error("the key that signed it could not be obtained")]
    NoKey,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    signer: String,
    iss: String,
    client: String,
    exp: u64,
}

/// A JWT of the right form that has not been verified yet.
pub struct UnverifiedBalancerJwt<'a> {
    header: Header,
    signed: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

/// The claims about a user.
#[derive(Clone, Debug, PartialEq)]
pub struct BalancerClaims(Map<String, Value>);

impl PublicKey {
    /// Reads PEM text.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(body).ok()?;
        let point = der.strip_prefix(&P256_PREFIX)?;
        (point.len() == 65 && point[0] == 4).then(|| Self(point.to_vec()))
    }
}

impl<'a> UnverifiedBalancerJwt<'a> {
    /// Parses a JWT.
    ///
    /// # Errors
    /// [`BalancerJwtError::Malformed`] and [`BalancerJwtError::Algorithm`].
    pub fn parse(text: &'a str) -> Result<Self, BalancerJwtError> {
        if text.len() > LENGTH_LIMIT {
            return Err(BalancerJwtError::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BalancerJwtError::Malformed)?;
        let (header, payload) =
            signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(BalancerJwtError::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| BalancerJwtError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| BalancerJwtError::Malformed)?;
        // SECURITY: the algorithm is ours to choose, never the token's; `none` and HMAC with a public key end here.
        if header.alg != "ES256" {
            return Err(BalancerJwtError::Algorithm);
        }
        // SECURITY: the key's name becomes part of a URL.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if header.kid.is_empty() || header.kid.len() > 64 || !header.kid.bytes().all(is_name) {
            return Err(BalancerJwtError::Malformed);
        }
        Ok(Self { header, signed, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// Returns the id of the key that the header names.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// Checks the header without cryptography: signer, issuer, client and expiry.
    ///
    /// # Errors
    /// [`BalancerJwtError`].
    pub fn check(&self, expected: &ExpectedBalancerJwt, now: SystemTime) -> Result<(), BalancerJwtError> {
        if self.header.signer != expected.signer {
            return Err(BalancerJwtError::Signer);
        }
        if self.header.iss != expected.issuer {
            return Err(BalancerJwtError::Issuer);
        }
        if expected.client.as_ref().is_some_and(|client| *client != self.header.client) {
            return Err(BalancerJwtError::Client);
        }
        // SECURITY: the number is not verified yet, and adding it to a time could overflow and panic.
        let end = self.header.exp.checked_add(LEEWAY_S).map(Duration::from_secs);
        let end = end.and_then(|end| UNIX_EPOCH.checked_add(end)).ok_or(BalancerJwtError::Malformed)?;
        if end <= now { Err(BalancerJwtError::Expired) } else { Ok(()) }
    }

    /// Verifies the JWT, and returns the claims about the user.
    ///
    /// # Errors
    /// [`BalancerJwtError`].
    pub fn verify(
        self,
        key: &PublicKey,
        expected: &ExpectedBalancerJwt,
        now: SystemTime,
    ) -> Result<BalancerClaims, BalancerJwtError> {
        self.check(expected, now)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.0)
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| BalancerJwtError::Signature)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&self.payload).map_err(|_| BalancerJwtError::Malformed)?;
        Ok(BalancerClaims(claims))
    }
}

impl BalancerClaims {
    /// Returns a claim that is a text and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns true if a grant to `subject` is for this user.
    #[must_use]
    pub fn fit(&self, subject: &Subject) -> bool {
        match subject {
            Subject::AnyUser => true,
            Subject::Claim { name, value } => match self.0.get(name) {
                Some(Value::String(text)) => text == value,
                Some(Value::Array(list)) => list.iter().any(|item| item.as_str() == Some(value)),
                _ => false,
            },
            Subject::Certificate(_) | Subject::AwsPrincipal(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
