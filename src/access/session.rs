//! A browser's session: a signed cookie value with the id of the token that was presented, and the time of expiry.
//!
//! The token itself is not in it. Revoking the token ends the session, because the id is looked up each time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::seal::Sealer;

/// Creates and verifies sessions.
#[derive(Clone)]
pub struct Sessions {
    key: hmac::Key,
    /// Seals the sessions of people whom an issuer has named, and their sign-ins.
    pub sealer: Sealer,
    /// The lifetime of a session.
    pub lifetime: Duration,
}

impl Sessions {
    /// Signs sessions with this key.
    #[must_use]
    pub fn new(key: &[u8], lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), sealer: Sealer::new(key), lifetime }
    }

    /// Returns a cookie's value for the holder of a token.
    #[must_use]
    pub fn begin(&self, token_id: &str, now: SystemTime) -> String {
        let end = seconds(now).saturating_add(self.lifetime.as_secs());
        let what = format!("v1.{token_id}.{end}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, what.as_bytes()));
        format!("{what}.{signature}")
    }

    /// Returns the id of the token behind a session; nothing if the session is forged or has expired.
    #[must_use]
    pub fn token_id<'a>(&self, value: &'a str, now: SystemTime) -> Option<&'a str> {
        self.open(value, now).map(|(id, _)| id)
    }

    /// Returns the id of the token behind a session, and the time at which the session ends.
    #[must_use]
    pub fn open<'a>(&self, value: &'a str, now: SystemTime) -> Option<(&'a str, SystemTime)> {
        let (what, signature) = value.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // SECURITY: ring compares in constant time.
        hmac::verify(&self.key, what.as_bytes(), &signature).ok()?;
        let (id, end) = what.strip_prefix("v1.")?.split_once('.')?;
        let end = end.parse::<u64>().ok().filter(|end| *end > seconds(now))?;
        Some((id, UNIX_EPOCH.checked_add(Duration::from_secs(end))?))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_signed_and_expires() {
        let sessions = Sessions::new(b"key", Duration::from_secs(60));
        let value = sessions.begin("abc", UNIX_EPOCH);
        assert_eq!(sessions.token_id(&value, UNIX_EPOCH), Some("abc"));
        assert_eq!(sessions.token_id(&value, UNIX_EPOCH + Duration::from_secs(59)), Some("abc"));
        assert_eq!(sessions.open(&value, UNIX_EPOCH), Some(("abc", UNIX_EPOCH + Duration::from_secs(60))));
        assert_eq!(sessions.token_id(&value, UNIX_EPOCH + Duration::from_secs(60)), None);
        assert_eq!(Sessions::new(b"other", sessions.lifetime).token_id(&value, UNIX_EPOCH), None);
        let signature = value.rsplit_once('.').expect("signed").1;
        let forged =
            [value.replace("abc", "abd"), value.replace(".60.", ".61."), format!("{value}x"), value[1..].to_owned()];
        for text in forged.iter().map(String::as_str).chain(["", ".", "v1.abc.60.", signature]) {
            assert_eq!(sessions.token_id(text, UNIX_EPOCH), None, "{text}");
        }
    }
}
