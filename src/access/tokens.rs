//! The token file: the tokens with their callers, roles and targets. It holds hashes only.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;

use super::caller::{self, AuthMethod, Caller, Role, Targets, check_name};
use super::token::{self, Hash};

/// The largest file that is read; thousands of tokens. Bytes.
pub const SIZE_LIMIT: usize = 1 << 20;

/// The heading of a file.
const HEADING: &str = "\
# Access tokens of the MLflow appliance: hashes only. A token itself is shown once, by `appliance token new`.
";

/// One token of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// The part of the token that is not secret.
    pub id: String,
    /// The name of the caller.
    pub name: String,
    /// The role of the caller.
    pub role: Role,
    /// The targets that the caller may use.
    pub targets: Targets,
    /// The time of its creation.
    pub created: SystemTime,
    /// The time of its expiry, if any.
    pub expires: Option<SystemTime>,
    /// The hash of the token.
    pub hash: Hash,
}

/// The tokens of a file.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<TokenEntry>,
    by_id: HashMap<String, usize>,
}

/// The reason why a file is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// Larger than [`SIZE_LIMIT`].
    #[error("it is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// Not TOML, or with other keys.
    #[error("it cannot be read: {0}")]
    Syntax(String),
    /// An entry that is invalid.
    #[error("`[[token]]` number {number} (`{id}`): {what}")]
    Entry {
        /// The number of the entry, counting from 1.
        number: usize,
        /// Its id.
        id: String,
        /// The problem.
        what: String,
    },
}

/// The reason why a presented token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not the text of a token at all.
    #[error("it is not a token of the appliance")]
    Malformed,
    /// Never created, or revoked.
    #[error("it is not known, or was revoked")]
    Unknown,
    /// Expired.
    #[error("it has expired")]
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    id: String,
    name: String,
    role: String,
    targets: Option<Vec<String>>,
    created: String,
    expires: Option<String>,
    sha256: String,
}

impl TokenTable {
    fn check(self) -> Result<TokenEntry, String> {
        let time = |key: &str, text: &str| {
            humantime::parse_rfc3339(text).map_err(|_| format!("`{key}` is not a time like `2027-01-31T12:00:00Z`"))
        };
        check_name(&self.name)?;
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("`id` is not the id of a token".to_owned());
        }
        if self.targets.as_ref().is_some_and(Vec::is_empty) {
            return Err("`targets` is empty; leave it out to mean all".to_owned());
        }
        if !self.targets.iter().flatten().all(|name| caller::is_target_name(name)) {
            return Err("`targets` contains an invalid target name".to_owned());
        }
        Ok(TokenEntry {
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
        let document: TokenFile = toml::from_str(text).map_err(|error| {
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
    pub fn add(&mut self, entry: TokenEntry) -> Result<(), String> {
        if self.by_id.insert(entry.id.clone(), self.entries.len()).is_some() {
            return Err("there are two tokens of this id".to_owned());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Removes the tokens with this id or this name, and returns them.
    pub fn revoke(&mut self, id_or_name: &str) -> Vec<TokenEntry> {
        let is_meant = |entry: &mut TokenEntry| entry.id == id_or_name || entry.name == id_or_name;
        let revoked = self.entries.extract_if(.., is_meant).collect();
        self.by_id = self.entries.iter().enumerate().map(|(at, entry)| (entry.id.clone(), at)).collect();
        revoked
    }

    /// Returns all tokens in their order.
    #[must_use]
    pub fn entries(&self) -> &[TokenEntry] {
        &self.entries
    }

    /// Returns the token that a caller presents.
    ///
    /// # Errors
    /// [`Rejected`], for the log. A caller only learns that the token was rejected.
    pub fn find(&self, presented: &str, now: SystemTime) -> Result<&TokenEntry, Rejected> {
        let id = token::id(presented).ok_or(Rejected::Malformed)?;
        let entry = self.by_id.get(id).map(|at| &self.entries[*at]).ok_or(Rejected::Unknown)?;
        // SECURITY: only the hash is secret, and it is compared in constant time; ids may be told apart by timing.
        if !entry.hash.is(&Hash::of(presented)) {
            return Err(Rejected::Unknown);
        }
        entry.still_valid(now)
    }

    /// Returns the token with an id that was checked before, as in a session.
    ///
    /// # Errors
    /// [`Rejected`] if it has been revoked or has expired since.
    pub fn by_id(&self, id: &str, now: SystemTime) -> Result<&TokenEntry, Rejected> {
        self.by_id.get(id).map(|at| &self.entries[*at]).ok_or(Rejected::Unknown)?.still_valid(now)
    }
}

impl TokenEntry {
    fn still_valid(&self, now: SystemTime) -> Result<&Self, Rejected> {
        if self.expires.is_none_or(|expires| expires > now) { Ok(self) } else { Err(Rejected::Expired) }
    }

    /// Returns the caller that presents the token.
    #[must_use]
    pub fn caller(&self, means: AuthMethod) -> Caller {
        Caller { name: self.name.clone(), role: self.role, targets: self.targets.clone(), means }
    }
}

impl fmt::Display for Tokens {
    /// Writes the file's text. Nothing in it needs quoting: names, ids and targets are checked.
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
mod tests;
