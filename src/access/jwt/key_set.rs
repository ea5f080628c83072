//! The keys that an issuer publishes (JWKS, RFC 7517).

use serde_json::Value;

use super::algorithm::JwtAlgorithm;
use super::error::JwtError;
use super::key::VerificationKey;
use super::strict_json;

/// The number of keys that a set may have. Large issuers have about twenty.
const KEYS_LIMIT: usize = 100;

/// The keys of an issuer. Keys that cannot verify anything are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<VerificationKey>);

/// The reason why a set of keys is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// The document is not an object of JSON with a list `keys`.
    #[error("it is not a JSON Web Key Set: an object of JSON with a list `keys`")]
    NotASet,
    /// More keys than an issuer needs.
    #[error("it has more than {KEYS_LIMIT} keys")]
    TooMany,
    /// No key is usable; with the reason for the first.
    #[error("none of its keys can verify a signature{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Unusable(Option<String>),
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let set = strict_json::object(text).map_err(|_| KeySetError::NotASet)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotASet)?;
        if listed.len() > KEYS_LIMIT {
            return Err(KeySetError::TooMany);
        }
        let (mut keys, mut rejected) = (Vec::new(), None);
        for jwk in listed {
            match VerificationKey::from_jwk(jwk) {
                Ok(key) => keys.push(key),
                Err(why) => rejected = rejected.or(Some(why.to_string())),
            }
        }
        if keys.is_empty() { Err(KeySetError::Unusable(rejected)) } else { Ok(Self(keys)) }
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if each key of this set is in the other one as well.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|key| other.0.contains(key))
    }

    /// Returns true if a key fits one of these algorithms.
    #[must_use]
    pub fn has_key_for(&self, algorithms: &[JwtAlgorithm]) -> bool {
        self.0.iter().any(|key| algorithms.iter().any(|algorithm| key.fits(*algorithm)))
    }

    /// Returns the key of this name for an algorithm. Without a name, only one key may fit.
    ///
    /// # Errors
    /// [`JwtError::UnknownKey`] and [`JwtError::AmbiguousKey`].
    pub fn choose(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> Result<&VerificationKey, JwtError> {
        let is_meant = |key: &&VerificationKey| id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut fitting = self.0.iter().filter(is_meant).filter(|key| key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(JwtError::AmbiguousKey),
            (None, _) => Err(JwtError::UnknownKey),
        }
    }
}
