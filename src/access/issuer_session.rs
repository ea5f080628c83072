//! The session of a person whom an issuer has named: a sealed cookie value.
//!
//! It holds neither a token nor claims, only the answers that `[[caller]]` has asked for: which of its patterns the person's
//! claims match. So it stays small whatever the provider sends, and each request is judged by the table that is in force: a
//! row that was removed or got a lower role does so for open sessions as well, and appliances with different tables, as
//! during an update, each apply their own. A new pattern applies from the next sign-in on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use super::token::NoRandomness;

/// The first characters of each such value.
const PREFIX: &str = "v2.";
const PURPOSE: &str = "session";
/// The number of matching patterns that are kept, in the order of the table. They take 14 bytes each.
const FACTS_LIMIT: usize = 32;
/// The bytes of a hash that stand for a pattern. The operator has written all patterns, so nobody looks for collisions.
const FACT_BYTES: usize = 8;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerSession {
    /// The name of the issuer.
    #[serde(rename = "i")]
    pub issuer: String,
    /// The hash of the issuer's URL, so that a name that is given to another issuer ends the session.
    #[serde(rename = "u")]
    url: String,
    /// The name of the person for logs and limits.
    #[serde(rename = "n")]
    pub name: String,
    /// The hashes of the matching patterns.
    #[serde(rename = "f")]
    facts: Vec<String>,
    /// The end, in seconds since 1970.
    #[serde(rename = "e")]
    end: u64,
}

impl IssuerSession {
    /// Returns a session of a person, for whom these patterns match.
    #[must_use]
    pub fn new<'a>(
        (issuer, url): (&str, &str),
        name: &str,
        matching: impl Iterator<Item = &'a str>,
        end: SystemTime,
    ) -> Self {
        let mut facts: Vec<String> = Vec::new();
        for fact in matching.map(hashed) {
            if facts.len() < FACTS_LIMIT && !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { issuer: issuer.to_owned(), url: hashed(url), name: name.to_owned(), facts, end }
    }

    /// Returns the value of the cookie.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal(&self, sealer: &Sealer, random: &dyn SecureRandom) -> Result<String, NoRandomness> {
        let value = serde_json::to_vec(self).expect("texts and numbers are JSON");
        Ok(format!("{PREFIX}{}", sealer.seal(PURPOSE, b"", &value, random)?))
    }

    /// Returns true if the value of a cookie can only be such a session.
    #[must_use]
    pub fn looks_like_one(value: &str) -> bool {
        value.starts_with(PREFIX)
    }

    /// Returns the session in a cookie; nothing if it is forged or has expired.
    #[must_use]
    pub fn open(sealer: &Sealer, value: &str, now: SystemTime) -> Option<Self> {
        let value = sealer.open(PURPOSE, b"", value.strip_prefix(PREFIX)?)?;
        let session: Self = serde_json::from_slice(&value).ok()?;
        (session.end() > now).then_some(session)
    }

    /// Returns the time at which the session ends.
    #[must_use]
    pub fn end(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.end)).unwrap_or(UNIX_EPOCH)
    }

    /// Returns true if the issuer whose URL has this hash has named the person.
    #[must_use]
    pub fn is_of(&self, url: &str) -> bool {
        self.url == url
    }

    /// Returns true if the person's claims match the pattern with this hash.
    #[must_use]
    pub fn has(&self, pattern: &str) -> bool {
        self.facts.iter().any(|fact| fact == pattern)
    }
}

/// Returns the hash that stands for a pattern or a URL.
#[must_use]
pub fn hashed(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..FACT_BYTES])
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    const ISSUER: (&str, &str) = ("okta", "https://corp.okta.example");

    #[test]
    fn a_session_says_which_patterns_match_until_it_ends() {
        let (sealer, random) = (Sealer::new(b"key"), SystemRandom::new());
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let session = IssuerSession::new(ISSUER, "ada", ["groups=a", "groups=*", "groups=a"].into_iter(), at(60));
        let value = session.seal(&sealer, &random).expect("random numbers");
        assert!(IssuerSession::looks_like_one(&value) && !IssuerSession::looks_like_one("v1.abc.60.x"));
        let found = IssuerSession::open(&sealer, &value, at(59)).expect("it has not ended");
        assert_eq!((&found, found.end()), (&session, at(60)));
        let is_of = |url: &str| found.is_of(&hashed(url));
        assert!(is_of(ISSUER.1) && !is_of("https://other.okta.example"));
        let matches = |pattern: &str| found.has(&hashed(pattern));
        assert!(matches("groups=a") && matches("groups=*") && !matches("groups=b"));
        assert_eq!(IssuerSession::open(&sealer, &value, at(60)), None);
        assert_eq!(IssuerSession::open(&Sealer::new(b"other"), &value, at(1)), None);
        assert_eq!(IssuerSession::open(&sealer, &value[3..], at(1)), None);
    }

    #[test]
    fn a_session_stays_below_a_kibibyte() {
        let (sealer, random) = (Sealer::new(b"key"), SystemRandom::new());
        let patterns: Vec<String> = (0..100).map(|number| format!("groups=a-long-name-{number}")).collect();
        let name = "x".repeat(64);
        let session = IssuerSession::new((&name, ISSUER.1), &name, patterns.iter().map(String::as_str), UNIX_EPOCH);
        let has = |number: usize| session.has(&hashed(&patterns[number]));
        assert!(has(31) && !has(32));
        let length = session.seal(&sealer, &random).expect("random numbers").len();
        assert!(length < 1024, "{length}");
    }
}
