//! The text of a token: creating, recognising and hashing it.
//!
//! `mlfa_<id>_<secret><check>`: ten characters that say which token it is, thirty-two secret ones (190 bits of
//! randomness), and six that are computed from the others, so that a scanner for leaked secrets can tell a token from a
//! text that merely looks like one. With that much randomness a plain SHA-256 is all that needs to be kept.

use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// The prefix of every token.
pub const PREFIX: &str = "mlfa_";
const ID_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 6;
const LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token. Only its owner keeps the text.
pub struct NewToken {
    /// The id of the token, which is not secret.
    pub id: String,
    /// The token.
    pub text: SecretString,
    /// The hash, the only part that is stored.
    pub hash: Hash,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub struct NoRandomness;

/// Makes a token.
///
/// # Errors
/// [`NoRandomness`].
pub fn generate(random: &dyn SecureRandom) -> Result<NewToken, NoRandomness> {
    let id = characters(random, ID_LENGTH)?;
    let mut text = format!("{PREFIX}{id}_{}", characters(random, SECRET_LENGTH)?);
    text.extend(check(text.as_bytes()).map(char::from));
    Ok(NewToken { id, hash: Hash::of(&text), text: text.into() })
}

/// Returns the id within a token; nothing if the text is not a token.
#[must_use]
pub fn id(text: &str) -> Option<&str> {
    let id = claimed_id(text)?;
    let (signed, given) = text.as_bytes().split_at(LENGTH - CHECK_LENGTH);
    (check(signed) == given).then_some(id)
}

/// Returns the id within a text that has the form of a token, whose check is not computed.
#[must_use]
pub(super) fn claimed_id(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH)?.as_bytes();
    let (id, secret) = (rest.get(..ID_LENGTH)?, rest.get(ID_LENGTH + 1..)?);
    let is_plain = id.iter().chain(secret).all(u8::is_ascii_alphanumeric) && rest[ID_LENGTH] == b'_';
    std::str::from_utf8(id).ok().filter(|_| is_plain)
}

impl Hash {
    /// Returns the hash of a token.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash = digest(&SHA256, text.as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.contains(['+', '-']))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Returns the hash as 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Display for NewToken {
    /// Writes the token. This is the only place that shows one.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text.expose_secret())
    }
}

fn characters(random: &dyn SecureRandom, length: usize) -> Result<String, NoRandomness> {
    // The largest multiple of 62 that a byte can hold; bytes above would make the first characters likelier.
    const FAIR: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(fair.take(length - text.len()));
    }
    Ok(text)
}

/// Returns the beginning of the SHA-256, in the alphabet of tokens.
fn check(text: &[u8]) -> [u8; CHECK_LENGTH] {
    let hash = digest(&SHA256, text);
    std::array::from_fn(|at| ALPHABET[usize::from(hash.as_ref()[at] % 62)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_no_two_are_alike() {
        let random = ring::rand::SystemRandom::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let token = generate(&random).expect("random");
            let text = token.to_string();
            assert_eq!((text.len(), id(&text)), (LENGTH, Some(token.id.as_str())), "{text}");
            assert!(Hash::of(&text).is(&token.hash));
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn a_text_that_looks_like_a_token_is_rejected() {
        let token = generate(&ring::rand::SystemRandom::new()).expect("random").to_string();
        assert_eq!(id(&token[..token.len() - 1]), None);
        assert_eq!(id(&format!("{token}x")), None);
        assert_eq!(id(&token.replace("mlfa_", "mlfb_")), None);
        let mut other = token.clone().into_bytes();
        other[20] = if other[20] == b'a' { b'b' } else { b'a' };
        assert_eq!(id(std::str::from_utf8(&other).expect("ASCII")), None, "the check catches a slip");
        for text in ["", "mlfa_", "mlfa__", &"x".repeat(LENGTH), &"ü".repeat(LENGTH / 2)] {
            assert_eq!(id(text), None, "{text}");
        }
    }

    #[test]
    fn hashes_are_written_in_hexadecimal() {
        let hash = Hash::of("abc");
        assert_eq!(hash.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(Hash::from_hex(&hash.to_hex()).is_some_and(|read| read.is(&hash)));
        for text in ["", "zz", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert!(Hash::from_hex(text).is_none(), "{text}");
        }
    }
}
