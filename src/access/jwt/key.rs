//! A public key of an issuer, from a JSON Web Key (RFC 7517), and the verification of a signature with it.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::algorithm::JwtAlgorithm;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The sizes of an RSA modulus that ring verifies with. Bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKey {
    pub(super) id: Option<String>,
    /// The only algorithm that the key is for, if it says so.
    algorithm: Option<String>,
    material: KeyMaterial,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyMaterial {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The reason why a key of a set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// The key is not an object with the parameters of its type.
    #[error("it is malformed")]
    Malformed,
    /// Meant for encryption.
    #[error("it is not for signatures")]
    Use,
    /// A shared secret, or a curve that no supported algorithm uses.
    #[error("its type or its curve is not supported")]
    Kind,
    /// Too short or too long, or with a weak exponent.
    #[error("it is an RSA key of less than 2048 or more than 8192 bits, or with an exponent below 65537")]
    Rsa,
}

impl VerificationKey {
    /// Reads a JSON Web Key. Certificates in it are ignored.
    ///
    /// # Errors
    /// [`KeyRejected`].
    pub fn from_jwk(value: &Value) -> Result<Self, KeyRejected> {
        let jwk = value.as_object().ok_or(KeyRejected::Malformed)?;
        let is_for_encryption = jwk.get("use").is_some_and(|purpose| purpose != "sig");
        let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.contains(&"verify".into()));
        if is_for_encryption || !jwk.get("key_ops").is_none_or(verifies) {
            return Err(KeyRejected::Use);
        }
        let optional = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())).ok_or(KeyRejected::Malformed),
        };
        Ok(Self { id: optional("kid")?, algorithm: optional("alg")?, material: KeyMaterial::from_jwk(jwk)? })
    }

    /// Returns true if the algorithm is for keys of this kind, and the key is not for another one.
    #[must_use]
    pub fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        let is_of_kind = match algorithm {
            JwtAlgorithm::Rs256 | JwtAlgorithm::Rs384 | JwtAlgorithm::Rs512 => self.is_rsa(),
            JwtAlgorithm::Ps256 | JwtAlgorithm::Ps384 | JwtAlgorithm::Ps512 => self.is_rsa(),
            JwtAlgorithm::Es256 => matches!(self.material, KeyMaterial::P256(_)),
            JwtAlgorithm::Es384 => matches!(self.material, KeyMaterial::P384(_)),
            JwtAlgorithm::EdDsa => matches!(self.material, KeyMaterial::Ed25519(_)),
        };
        is_of_kind && self.algorithm.as_ref().is_none_or(|only| only.parse() == Ok(algorithm))
    }

    fn is_rsa(&self) -> bool {
        matches!(self.material, KeyMaterial::Rsa { .. })
    }

    /// Verifies a signature. The algorithm has to fit.
    #[must_use]
    pub fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let verified = match &self.material {
            KeyMaterial::Rsa { modulus, exponent } => {
                let parameters = match algorithm {
                    JwtAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    JwtAlgorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    JwtAlgorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    JwtAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    JwtAlgorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    _ => &RSA_PSS_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature)
            }
            KeyMaterial::P256(point) => verify(&ECDSA_P256_SHA256_FIXED, point, message, signature),
            KeyMaterial::P384(point) => verify(&ECDSA_P384_SHA384_FIXED, point, message, signature),
            KeyMaterial::Ed25519(point) => verify(&ED25519, point, message, signature),
        };
        verified.is_ok()
    }
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), ring::error::Unspecified> {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature)
}

impl KeyMaterial {
    fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyRejected> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            let text = text(name).ok_or(KeyRejected::Malformed)?;
            BASE64.decode(text).map_err(|_| KeyRejected::Malformed)
        };
        let number = |name: &str| {
            let mut bytes = bytes(name)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes.drain(..zeros);
            Ok(bytes)
        };
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != length || y.len() != length {
                return Err(KeyRejected::Malformed);
            }
            Ok([&[4], &x[..], &y[..]].concat())
        };
        match (text("kty").ok_or(KeyRejected::Malformed)?, text("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (number("n")?, number("e")?);
                let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
                // Three bytes hold 65537, and five the largest exponent that ring takes.
                let is_strong = (3..=5).contains(&exponent.len()) && exponent.last().is_some_and(|last| last % 2 == 1);
                if RSA_BITS.contains(&bits) && is_strong {
                    Ok(Self::Rsa { modulus, exponent })
                } else {
                    Err(KeyRejected::Rsa)
                }
            }
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("OKP", Some("Ed25519")) => match bytes("x")? {
                key if key.len() == 32 => Ok(Self::Ed25519(key)),
                _ => Err(KeyRejected::Malformed),
            },
            _ => Err(KeyRejected::Kind),
        }
    }
}
