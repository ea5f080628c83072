//! The token file: who was given a token, and what it allows. It holds hashes only.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;

use super::caller::{self, Caller, Means, Role, Targets, check_name};
use super::token::{self, Hash};

/// The largest file that is read; thousands of tokens. Bytes.
pub const SIZE_LIMIT: usize = 1 << 20;

/// What a file begins with.
const HEADING: &str = "\
# Access tokens of the MLflow appliance: hashes only. A token itself is shown once, by `appliance token new`.
";

/// One token, as it is kept.
#[derive(Clone)]
pub struct Entry {
    /// The part of the token that is not secret.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Where.
    pub targets: Targets,
    /// When it was made.
    pub created: SystemTime,
    /// When it ceases to hold, if ever.
    pub expires: Option<SystemTime>,
    /// Of the token.
    pub hash: Hash,
}

/// The tokens of a file.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
    by_id: HashMap<String, usize>,
}

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// Larger than [`SIZE_LIMIT`].
    #[error("it is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// Not TOML, or with other keys.
    #[error("it cannot be read: {0}")]
    Syntax(String),
    /// An entry that makes no sense.
    #[error("`[[token]]` number {number} (`{id}`): {what}")]
    Entry {
        /// Which, counting from 1.
        number: usize,
        /// Its id.
        id: String,
        /// What is wrong.
        what: String,
    },
}

/// Why a presented token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not the text of a token at all.
    #[error("it is not a token of the appliance")]
    Malformed,
    /// Never made, or revoked.
    #[error("it is not known, or was revoked")]
    Unknown,
    /// Past its time.
    #[error("it has expired")]
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    name: String,
    role: String,
    targets: Option<Vec<String>>,
    created: String,
    expires: Option<String>,
    sha256: String,
}

impl Written {
    fn check(self) -> Result<Entry, String> {
        let time = |key: &str, text: &str| {
            humantime::parse_rfc3339(text).map_err(|_| format!("`{key}` is no time like `2027-01-31T12:00:00Z`"))
        };
        check_name(&self.name)?;
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("`id` is not the id of a token".to_owned());
        }
        if self.targets.as_ref().is_some_and(Vec::is_empty) {
            return Err("`targets` is empty; leave it out to mean all".to_owned());
        }
        if !self.targets.iter().flatten().all(|name| caller::is_target_name(name)) {
            return Err("`targets` holds something that is not the name of a target".to_owned());
        }
        Ok(Entry {
            role: self.role.parse().map_err(|error: caller::NotARole| error.to_string())?,
            targets: self.targets.map_or(Targets::All, Targets::Named),
            created: time("created", &self.created)?,
            expires: self.expires.map(|text| time("expires", &text)).transpose()?,
            hash: Hash::from_hex(&self.sha256).ok_or("`sha256` is not 64 hexadecimal digits")?,
            id: self.id,
            name: self.name,
        })
    }
}

impl Tokens {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`TokensError`]; one bad entry makes the file bad, so that a slip cannot go unnoticed.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        if text.len() > SIZE_LIMIT {
            return Err(TokensError::TooLarge);
        }
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            // The message alone: the error's own form quotes the line, and with it what stands there.
            TokensError::Syntax(format!("line {line}: {}", error.message()))
        })?;
        let mut tokens = Self::default();
        for (at, written) in document.token.into_iter().enumerate() {
            let id = written.id.clone();
            let added = written.check().and_then(|entry| tokens.add(entry));
            added.map_err(|what| TokensError::Entry { number: at + 1, id, what })?;
        }
        Ok(tokens)
    }

    /// Adds a token.
    ///
    /// # Errors
    /// When there is one of the same id.
    pub fn add(&mut self, entry: Entry) -> Result<(), String> {
        if self.by_id.insert(entry.id.clone(), self.entries.len()).is_some() {
            return Err("there are two tokens of this id".to_owned());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Removes the tokens with this id or this name, and returns them.
    pub fn revoke(&mut self, id_or_name: &str) -> Vec<Entry> {
        let is_meant = |entry: &mut Entry| entry.id == id_or_name || entry.name == id_or_name;
        let revoked = self.entries.extract_if(.., is_meant).collect();
        self.by_id = self.entries.iter().enumerate().map(|(at, entry)| (entry.id.clone(), at)).collect();
        revoked
    }

    /// All of them, in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The token that somebody presents.
    ///
    /// # Errors
    /// [`Rejected`]; for the log. Callers hear no more than that it was rejected.
    pub fn find(&self, presented: &str, now: SystemTime) -> Result<&Entry, Rejected> {
        let id = token::id(presented).ok_or(Rejected::Malformed)?;
        let entry = self.by_id.get(id).map(|at| &self.entries[*at]).ok_or(Rejected::Unknown)?;
        // SECURITY: only the hash is secret, and it is compared in constant time; ids may be told apart by timing.
        if !entry.hash.is(&Hash::of(presented)) {
            return Err(Rejected::Unknown);
        }
        entry.still_valid(now)
    }

    /// The token with an id that was checked before, as in a session.
    ///
    /// # Errors
    /// [`Rejected`] if it has been revoked or has expired since.
    pub fn by_id(&self, id: &str, now: SystemTime) -> Result<&Entry, Rejected> {
        self.by_id.get(id).map(|at| &self.entries[*at]).ok_or(Rejected::Unknown)?.still_valid(now)
    }
}

impl Entry {
    fn still_valid(&self, now: SystemTime) -> Result<&Self, Rejected> {
        if self.expires.is_none_or(|expires| expires > now) { Ok(self) } else { Err(Rejected::Expired) }
    }

    /// The caller that presents it.
    #[must_use]
    pub fn caller(&self, means: Means) -> Caller {
        Caller { name: self.name.clone(), role: self.role, targets: self.targets.clone(), means }
    }
}

impl fmt::Display for Tokens {
    /// The file's text. Nothing in it needs quoting: names, ids and targets are checked.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HEADING)?;
        for entry in &self.entries {
            write!(
                formatter,
                "\n[[token]]\nid = \"{}\"\nname = \"{}\"\nrole = \"{}\"\n",
                entry.id, entry.name, entry.role
            )?;
            if let Targets::Named(names) = &entry.targets {
                let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
                writeln!(formatter, "targets = [{}]", names.join(", "))?;
            }
            writeln!(formatter, "created = \"{}\"", humantime::format_rfc3339_seconds(entry.created))?;
            if let Some(expires) = entry.expires {
                writeln!(formatter, "expires = \"{}\"", humantime::format_rfc3339_seconds(expires))?;
            }
            writeln!(formatter, "sha256 = \"{}\"", entry.hash.to_hex())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn two() -> (Tokens, String, String) {
        let random = ring::rand::SystemRandom::new();
        let (first, second) = (token::generate(&random).expect("random"), token::generate(&random).expect("random"));
        let entry = |token: &token::NewToken, name: &str, expires| Entry {
            id: token.id.clone(),
            name: name.to_owned(),
            role: Role::Write,
            targets: Targets::Named(vec!["team-a".into(), "default".into()]),
            created: NOW,
            expires,
            hash: token.hash,
        };
        let mut tokens = Tokens::default();
        tokens.add(entry(&first, "ci", None)).expect("added");
        tokens.add(entry(&second, "ada", Some(NOW + Duration::from_secs(60)))).expect("added");
        (tokens, first.to_string(), second.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (tokens, first, second) = two();
        let text = tokens.to_string();
        assert!(!text.contains(&first) && !text.contains(&first[16..]), "no secret is in the file");
        let read = Tokens::parse(&text).expect("readable");
        assert_eq!(read.to_string(), text);
        let later = NOW + Duration::from_secs(60);
        assert_eq!(read.find(&first, later).map(|entry| entry.name.as_str()), Ok("ci"));
        assert_eq!(read.find(&second, NOW).map(|entry| entry.name.as_str()), Ok("ada"));
        assert_eq!(read.find(&second, later).err(), Some(Rejected::Expired));
    }

    #[test]
    fn a_revoked_token_is_unknown() {
        let (mut tokens, first, second) = two();
        assert_eq!(tokens.revoke("ci").len(), 1);
        assert_eq!(tokens.revoke("ci").len(), 0);
        assert_eq!(tokens.find(&first, NOW).err(), Some(Rejected::Unknown));
        assert!(tokens.find(&second, NOW).is_ok());
        let id = token::id(&second).expect("a token");
        assert!(tokens.by_id(id, NOW).is_ok());
        assert_eq!(tokens.by_id("x", NOW).err(), Some(Rejected::Unknown));
    }

    #[test]
    fn another_secret_under_a_known_id_is_unknown() {
        let (tokens, first, _) = two();
        let other = token::generate(&ring::rand::SystemRandom::new()).expect("random").to_string();
        assert_eq!(tokens.find(&other, NOW).err(), Some(Rejected::Unknown));
        assert_eq!(tokens.find("", NOW).err(), Some(Rejected::Malformed));
        assert_eq!(tokens.find(&format!("{first} "), NOW).err(), Some(Rejected::Malformed));
    }

    #[test]
    fn a_slip_in_the_file_is_named() {
        let (tokens, ..) = two();
        let text = tokens.to_string();
        for (from, to, expected) in [
            ("role = \"write\"", "role = \"root\"", "a role is `read`, `write` or `admin`"),
            ("role", "rule", "line 6: unknown field `rule`"),
            ("name = \"ci\"", "name = \"c i\"", "a name has 2 to 64"),
            ("created = \"19", "created = \"x", "`created` is no time"),
            ("targets = [\"team-a\", \"default\"]", "targets = []", "`targets` is empty"),
            ("sha256 = \"", "sha256 = \"z", "`sha256` is not 64"),
            ("[[token]]", "[token", "line 3"),
        ] {
            let error = Tokens::parse(&text.replacen(from, to, 1)).err().expect(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let twice = format!("{text}{}", &text[text.find("[[token]]").expect("one")..]);
        assert!(Tokens::parse(&twice).is_err(), "two of one id");
        assert_eq!(Tokens::parse(&" ".repeat(SIZE_LIMIT + 1)).err(), Some(TokensError::TooLarge));
        assert_eq!(Tokens::parse("").map(|tokens| tokens.entries().len()).ok(), Some(0));
    }
}
