//! The token file: the tokens with their callers, roles and targets. It holds hashes only.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;

use super::token::{self, Hash};
use super::token_entry::TokenTable;
pub use super::token_entry::{PersonalEntry, TokenEntry};

/// The largest file that is read; thousands of tokens. Bytes.
pub const SIZE_LIMIT: usize = 1 << 20;

/// The heading of a file.
const HEADING: &str = "\
# Access tokens of the MLflow appliance: hashes only. A token itself is shown once, by `appliance token new`.
";

/// The tokens of a file.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<TokenEntry>,
    by_id: HashMap<String, usize>,
    /// The positions of all entries in the order of their names.
    by_name: Vec<usize>,
}

/// The reason why a file is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// The file is larger than [`SIZE_LIMIT`].
    #[error("it is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// The text is not TOML, or has unknown keys.
    #[error("{0}")]
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
pub enum TokenRejection {
    /// The text has not the form of a token.
    #[error("it is not a token of the appliance")]
    Malformed,
    /// The token was never created, or it was revoked.
    #[error("it is not known, or was revoked")]
    Unknown,
    /// The token has expired.
    #[error("it has expired")]
    Expired,
    /// A personal token of a person who has no access any more.
    #[error("the person who made it has no access any more")]
    Owner,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenTable>,
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
            let added = written.check().and_then(|entry| tokens.append(entry));
            added.map_err(|what| TokensError::Entry { number: at + 1, id, what })?;
        }
        tokens.index();
        Ok(tokens)
    }

    /// Adds a token.
    ///
    /// # Errors
    /// When there is one of the same id.
    pub fn add(&mut self, entry: TokenEntry) -> Result<(), String> {
        let before = |at: &usize| self.entries[*at].name <= entry.name;
        let (place, at) = (self.by_name.partition_point(before), self.entries.len());
        self.append(entry)?;
        self.by_name.insert(place, at);
        Ok(())
    }

    fn append(&mut self, entry: TokenEntry) -> Result<(), String> {
        if self.by_id.insert(entry.id.clone(), self.entries.len()).is_some() {
            return Err("there are two tokens of this id".to_owned());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Removes the tokens with this id or this name, and returns them.
    pub fn revoke(&mut self, id_or_name: &str) -> Vec<TokenEntry> {
        self.remove(|entry| entry.id == id_or_name || entry.name == id_or_name)
    }

    /// Removes the tokens that are meant, and returns them.
    pub fn remove(&mut self, is_meant: impl Fn(&TokenEntry) -> bool) -> Vec<TokenEntry> {
        let removed = self.entries.extract_if(.., |entry| is_meant(entry)).collect();
        self.by_id = self.entries.iter().enumerate().map(|(at, entry)| (entry.id.clone(), at)).collect();
        self.index();
        removed
    }

    fn index(&mut self) {
        self.by_name = (0..self.entries.len()).collect();
        self.by_name.sort_by(|one, other| self.entries[*one].name.cmp(&self.entries[*other].name));
    }

    /// Returns all tokens in their order.
    #[must_use]
    pub fn entries(&self) -> &[TokenEntry] {
        &self.entries
    }

    /// Returns the token with this id.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&TokenEntry> {
        self.by_id.get(id).map(|at| &self.entries[*at])
    }

    /// Changes the tokens, but neither their ids nor their names.
    pub(super) fn change_all(&mut self, change: impl FnMut(&mut TokenEntry)) {
        self.entries.iter_mut().for_each(change);
    }

    /// Returns the tokens of a caller.
    pub fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a TokenEntry> {
        let begin = self.by_name.partition_point(|at| self.entries[*at].name.as_str() < name);
        let entries = self.by_name[begin..].iter().map(|at| &self.entries[*at]);
        entries.take_while(move |entry| entry.name == name)
    }

    /// Returns the token that a caller presents.
    ///
    /// # Errors
    /// [`TokenRejection`], for the log. A caller only learns that the token was rejected.
    pub fn find(&self, presented: &str, now: SystemTime) -> Result<&TokenEntry, TokenRejection> {
        // The hash of a known token covers its check as well, so only others need the check: a second hash for each request.
        let rejected =
            || if token::id(presented).is_some() { TokenRejection::Unknown } else { TokenRejection::Malformed };
        let entry = token::claimed_id(presented).and_then(|id| self.entry(id)).ok_or_else(rejected)?;
        // SECURITY: only the hash is secret, and it is compared in constant time; ids may be told apart by timing.
        if !entry.hash.is(&Hash::of(presented)) {
            return Err(rejected());
        }
        still_valid(entry, now)
    }

    /// Returns the token with an id that was checked before, as in a session.
    ///
    /// # Errors
    /// [`TokenRejection`] if it has been revoked or has expired since.
    pub fn by_id(&self, id: &str, now: SystemTime) -> Result<&TokenEntry, TokenRejection> {
        still_valid(self.entry(id).ok_or(TokenRejection::Unknown)?, now)
    }
}

fn still_valid(entry: &TokenEntry, now: SystemTime) -> Result<&TokenEntry, TokenRejection> {
    if entry.is_valid(now) { Ok(entry) } else { Err(TokenRejection::Expired) }
}

impl fmt::Display for Tokens {
    /// Writes the file's text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HEADING)?;
        for entry in &self.entries {
            write!(formatter, "\n[[token]]\n{entry}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
