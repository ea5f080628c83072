//! Values that only this set of appliances can make and read, though a browser or an identity provider keeps them.
//!
//! They are encrypted and authenticated with a key that is derived from the session key, so every appliance with the same
//! session key reads them. A value holds for one purpose and for what it is bound to.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::SecureRandom;

use super::token::NoRandomness;

/// The longest text of a sealed value. Bytes.
const TEXT_LIMIT: usize = 8 * 1024;
const LABEL: &[u8] = b"appliance: sealed values, version 1";

/// Seals and opens values.
#[derive(Clone)]
pub struct Sealer {
    /// SECURITY: nonces are random. With 96 bits, two of 2^32 values of one key are equal with a probability of 2^-33.
    key: Arc<LessSafeKey>,
    derive: hmac::Key,
}

impl Sealer {
    /// Derives its keys from the session key.
    #[must_use]
    pub fn new(session_key: &[u8]) -> Self {
        let root = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, session_key), LABEL);
        let root = hmac::Key::new(hmac::HMAC_SHA256, root.as_ref());
        let bytes = hmac::sign(&root, b"encryption");
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_ref()).expect("SHA-256 has as many bytes as the key");
        let derive = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"derivation").as_ref());
        Self { key: Arc::new(LessSafeKey::new(key)), derive }
    }

    /// Seals a value for a purpose, bound to `context`. The text fits into URLs and cookies.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal(
        &self,
        purpose: &str,
        context: &[u8],
        value: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<String, NoRandomness> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(|_| NoRandomness)?;
        let mut bytes = value.to_vec();
        let bound = Aad::from(associated(purpose, context));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut bytes)
            .map_err(|_| NoRandomness)?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &bytes].concat()))
    }

    /// Opens a value that was sealed for this purpose and context; nothing if it was not.
    #[must_use]
    pub fn open(&self, purpose: &str, context: &[u8], text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_LIMIT {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let value = self.key.open_in_place(nonce, Aad::from(associated(purpose, context)), sealed).ok()?;
        Some(value.to_vec())
    }

    /// Derives a text of 43 characters from another text. Nobody without the key can compute it.
    #[must_use]
    pub fn derived(&self, purpose: &str, from: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.derive, &associated(purpose, from.as_bytes())))
    }
}

/// The purpose and the context as one text, in which the end of the first is known.
fn associated(purpose: &str, context: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), b"\0", context].concat()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_value_opens_with_its_key_its_purpose_and_its_context_only() {
        let (sealer, random) = (Sealer::new(b"key"), SystemRandom::new());
        let sealed = sealer.seal("session", b"context", b"value", &random).expect("random numbers");
        assert_eq!(Sealer::new(b"key").open("session", b"context", &sealed).as_deref(), Some(&b"value"[..]));
        assert!(!sealed.contains("value") && sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        for (key, purpose, context) in [
            (&b"other"[..], "session", &b"context"[..]),
            (b"key", "flow", b"context"),
            (b"key", "session", b"Context"),
            (b"key", "session\0context", b""),
            (b"key", "sessio", b"n\0context"),
        ] {
            assert_eq!(Sealer::new(key).open(purpose, context, &sealed), None, "{purpose} {context:?}");
        }
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            // The last character has bits that decode to nothing, and the decoder rejects them.
            assert_eq!(sealer.open("session", b"context", &forged), None, "{at}");
        }
        for text in ["", "A", &sealed[1..], &sealed[..sealed.len() - 1], &"A".repeat(TEXT_LIMIT + 1)] {
            assert_eq!(sealer.open("session", b"context", text), None);
        }
        let again = sealer.seal("session", b"context", b"value", &random).expect("random numbers");
        assert_ne!(sealed, again, "each value has a nonce of its own");
    }

    #[test]
    fn a_derived_text_depends_on_everything() {
        let sealer = Sealer::new(b"key");
        let derived = sealer.derived("verifier", "state");
        assert_eq!(derived.len(), 43);
        assert_eq!(Sealer::new(b"key").derived("verifier", "state"), derived);
        for (key, purpose, from) in
            [(&b"other"[..], "verifier", "state"), (b"key", "nonce", "state"), (b"key", "verifier", "state2")]
        {
            assert_ne!(Sealer::new(key).derived(purpose, from), derived);
        }
    }
}
