//! The claims of a JWT, and patterns that they match.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::error::JwtError;
use crate::scalar;

/// The last second of the year 9999. Later times would overflow a clock somewhere.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The claims of a JWT. They prove nothing before the JWT has been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtClaims(Map<String, Value>);

/// The place of a claim: `repository`, `realm_access.roles`, or a JSON pointer such as `/kubernetes.io/namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

/// A claim and the value that it must have, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPattern {
    path: ClaimPath,
    value: String,
}

impl From<Map<String, Value>> for JwtClaims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(claims)
    }
}

impl JwtClaims {
    /// Returns a claim of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the time in a claim; nothing if it is missing.
    ///
    /// # Errors
    /// [`JwtError::Time`].
    pub fn time(&self, name: &str) -> Result<Option<SystemTime>, JwtError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // SECURITY: a number that a clock cannot show would overflow and panic.
        let seconds = value.as_f64().filter(|seconds| (0.0..=LAST_SECOND).contains(seconds)).ok_or(JwtError::Time)?;
        Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
    }

    /// Returns all claims by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// Returns the claim at this place.
    #[must_use]
    pub fn at(&self, path: &ClaimPath) -> Option<&Value> {
        match path.0.strip_prefix('/') {
            Some(pointer) => {
                let mut names = pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
                let first = self.0.get(&names.next()?)?;
                names.try_fold(first, |value, name| value.as_object()?.get(&name))
            }
            None => nested(&self.0, &path.0),
        }
    }

    /// Returns the claim at this place as a text that is not empty.
    #[must_use]
    pub fn text(&self, path: &ClaimPath) -> Option<String> {
        self.at(path).and_then(scalar::from_json).filter(|text| !text.is_empty())
    }
}

/// Returns the value at a path with dots. Keys may contain dots as well, as `kubernetes.io` does: the longest key goes first.
fn nested<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let dots = path.rmatch_indices('.').map(|(at, _)| at);
    let mut found = dots.filter_map(|at| Some((object.get(&path[..at])?.as_object()?, &path[at + 1..])));
    found.next().and_then(|(inner, rest)| nested(inner, rest))
}

impl ClaimPath {
    /// Reads a path.
    ///
    /// # Errors
    /// The valid form of a path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_valid = !text.is_empty() && text != "/" && text.len() <= 256 && !text.contains(char::is_control);
        if is_valid { Ok(Self(text.to_owned())) } else { Err("a claim has a name of 1 to 256 characters") }
    }
}

impl fmt::Display for ClaimPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.path.0, self.value)
    }
}

impl ClaimPattern {
    /// Returns true if there is such a claim, whatever its value.
    #[must_use]
    pub fn is_answered(&self, claims: &JwtClaims) -> bool {
        claims.at(&self.path).is_some()
    }

    /// Reads `name=value`.
    ///
    /// # Errors
    /// The valid form of a pattern.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (path, value) = text.split_once('=').ok_or("a claim is written as `name=value`")?;
        if value.is_empty() {
            return Err("the value of a claim is missing; `*` means any");
        }
        Ok(Self { path: ClaimPath::parse(path)?, value: value.to_owned() })
    }

    /// Returns true if any value matches.
    #[must_use]
    pub fn is_for_any(&self) -> bool {
        self.value.bytes().all(|byte| byte == b'*')
    }

    /// Returns true if the claim has this value, or is a list with it.
    #[must_use]
    pub fn matches(&self, claims: &JwtClaims) -> bool {
        let is_meant = |value: &Value| scalar::from_json(value).is_some_and(|text| glob(&self.value, &text));
        match claims.at(&self.path) {
            Some(Value::Array(list)) => list.iter().any(is_meant),
            Some(value) => is_meant(value),
            None => false,
        }
    }
}

/// Returns true if the text is as the pattern says, in which `*` stands for any characters, also none.
///
/// Each `*` takes as little as it can, so the time is at most the product of both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
