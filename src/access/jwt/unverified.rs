//! A JWT in its compact form: its parts, and the checks that come before and with the signature.

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::JwtAlgorithm;
use super::claims::JwtClaims;
use super::error::JwtError;
use super::issuer::JwtIssuer;
use super::key_set::KeySet;
use super::strict_json;

/// The longest token. Bytes.
pub const LENGTH_LIMIT: usize = 16 * 1024;
/// The longest name of a key. Bytes.
const KEY_ID_LIMIT: usize = 512;

/// A JWT of the right form that has not been verified yet.
pub struct UnverifiedJwt<'a> {
    algorithm: Option<JwtAlgorithm>,
    key_id: Option<String>,
    claims: JwtClaims,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Parses a JWT.
    ///
    /// # Errors
    /// [`JwtError`], if it is not a signed token that the appliance understands completely.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > LENGTH_LIMIT {
            return Err(JwtError::TooLong);
        }
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(if parts.len() == 5 { JwtError::Encrypted } else { JwtError::Malformed });
        };
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed);
        let header = strict_json::object(&decode(header)?)?;
        if header.contains_key("enc") {
            return Err(JwtError::Encrypted);
        }
        // SECURITY: `crit` says that a reader has to understand more than we do; `b64` and `zip` change what is signed.
        if ["crit", "b64", "zip"].iter().any(|name| header.contains_key(*name)) {
            return Err(JwtError::Critical);
        }
        let text_of = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JwtError::Header),
        };
        if !text_of("typ")?.is_none_or(is_token_type) {
            return Err(JwtError::Type);
        }
        let algorithm = text_of("alg")?.ok_or(JwtError::Header)?.parse().ok();
        let key_id = text_of("kid")?.map(ToOwned::to_owned);
        if key_id.as_ref().is_some_and(|id| id.len() > KEY_ID_LIMIT) {
            return Err(JwtError::Header);
        }
        let claims = JwtClaims::from(strict_json::object(&decode(payload)?)?);
        // Security event tokens and logout tokens have this claim (RFC 8417), and older ones have no type.
        if claims.get("events").is_some() {
            return Err(JwtError::Type);
        }
        let signed = &text[..text.len() - signature.len() - 1];
        Ok(Self { algorithm, key_id, claims, signed, signature: decode(signature)? })
    }

    /// Returns `iss`, with which the issuer is looked up.
    #[must_use]
    pub fn issuer_url(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Checks without cryptography all that can be checked: algorithm, issuer, audience and times. Returns the algorithm.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn check(&self, issuer: &JwtIssuer, audiences: &[String], now: SystemTime) -> Result<JwtAlgorithm, JwtError> {
        let algorithm = self.algorithm.filter(|algorithm| issuer.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(JwtError::Algorithm)?;
        if self.issuer_url() != Some(&issuer.url) {
            return Err(JwtError::UnknownIssuer);
        }
        let end = self.claims.time("exp")?.ok_or(JwtError::NoExpiry)?;
        if end + issuer.leeway <= now {
            return Err(JwtError::Expired);
        }
        let is_later = |time: Option<SystemTime>| time.is_some_and(|time| time > now + issuer.leeway);
        if is_later(self.claims.time("nbf")?) {
            return Err(JwtError::NotYetValid);
        }
        if is_later(self.claims.time("iat")?) {
            return Err(JwtError::IssuedInFuture);
        }
        let is_ours = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|known| known == text));
        let is_meant_for_us = match self.claims.get(&issuer.audience_claim) {
            Some(Value::Array(list)) => list.iter().any(is_ours),
            Some(value) => is_ours(value),
            None => false,
        };
        if is_meant_for_us { Ok(algorithm) } else { Err(JwtError::Audience) }
    }

    /// Verifies the token with the key that it names, and returns its claims.
    ///
    /// # Errors
    /// [`JwtError`]; with [`JwtError::UnknownKey`], newer keys of the issuer may help.
    pub fn verify(
        &self,
        issuer: &JwtIssuer,
        audiences: &[String],
        keys: &KeySet,
        now: SystemTime,
    ) -> Result<&JwtClaims, JwtError> {
        let algorithm = self.check(issuer, audiences, now)?;
        let key = keys.choose(self.key_id.as_deref(), algorithm)?;
        if key.verifies(algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(&self.claims)
        } else {
            Err(JwtError::Signature)
        }
    }
}

/// Returns true for the types of access tokens and ID tokens. Many issuers name none.
fn is_token_type(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    matches!(text.strip_prefix("application/").unwrap_or(&text), "jwt" | "at+jwt")
}
