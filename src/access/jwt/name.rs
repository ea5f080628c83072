//! The name of a caller, made of claims.
//!
//! Names go to CloudTrail, which accepts few characters, while claims have slashes, colons and spaces. A name that has to be
//! changed ends with a part of its hash, so that two callers never become one.

use ring::digest::{SHA256, digest};

use super::claims::{ClaimPath, JwtClaims};
use crate::access::caller::check_name;

/// The hexadecimal digits of the hash. With 64 bits, nobody finds a second name for a hash.
const DIGITS: usize = 16;
/// The longest beginning of a name that is kept before a hyphen and the hash.
const KEPT: usize = 64 - 1 - DIGITS;

/// A name with claims in it, as `gha-{repository}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate(Vec<NamePiece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum NamePiece {
    Text(String),
    Claim(ClaimPath),
}

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// The valid form of a template.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > 256 {
            return Err("a name has 1 to 256 characters");
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) = after.split_once('}').ok_or("a `{` is not closed")?;
            pieces.push(NamePiece::Text(before.to_owned()));
            pieces.push(NamePiece::Claim(ClaimPath::parse(claim)?));
            rest = after;
        }
        if rest.contains('}') || pieces.iter().any(|piece| matches!(piece, NamePiece::Text(text) if text.contains('}')))
        {
            return Err("a `}` closes nothing");
        }
        pieces.push(NamePiece::Text(rest.to_owned()));
        if pieces.len() == 1 {
            check_name(text)?;
        }
        Ok(Self(pieces))
    }

    /// Returns the template of a name that is one claim.
    #[must_use]
    pub fn of(claim: &ClaimPath) -> Self {
        Self(vec![NamePiece::Claim(claim.clone())])
    }

    /// Returns the name of a caller with these claims; nothing if one is missing.
    #[must_use]
    pub fn fill(&self, claims: &JwtClaims) -> Option<String> {
        let pieces = self.0.iter().map(|piece| match piece {
            NamePiece::Text(text) => Some(text.clone()),
            NamePiece::Claim(path) => claims.text(path),
        });
        Some(fitted(&pieces.collect::<Option<String>>()?))
    }
}

/// Returns the name itself if it is valid, and otherwise one that is, and that no other name becomes.
fn fitted(name: &str) -> String {
    // SECURITY: a name that looks like a changed one could be chosen to be equal to it, so it is changed as well.
    let looks_changed = name.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    if check_name(name).is_ok() && !looks_changed {
        return name.to_owned();
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "+=,.@_-".contains(letter);
    let kept: String = name.chars().take(KEPT).map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    let hash = hex::encode(&digest(&SHA256, name.as_bytes()).as_ref()[..DIGITS / 2]);
    format!("{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_changed_stays_unique() {
        assert_eq!(fitted("ada@corp.example"), "ada@corp.example");
        let changed = fitted("repo:corp/ml-x:ref:refs/heads/main");
        assert!(changed.starts_with("repo-corp-ml-x-ref-refs-heads-main-"), "{changed}");
        let names = ["a/b", "a:b", "a b", "a-b", &changed, "a", "ü", &"x".repeat(65), &"x".repeat(66)];
        let mut seen = std::collections::HashSet::new();
        for name in names {
            let fitted = fitted(name);
            assert_eq!(check_name(&fitted), Ok(()), "{fitted}");
            assert!(seen.insert(fitted.clone()), "{name} became {fitted}");
        }
        assert!(!seen.contains(&changed), "a name cannot be chosen to be equal to a changed one");
    }

    #[test]
    fn templates_are_checked() {
        for text in ["", "{", "{}", "a}b", "{a}}", "no good", "x", &"x".repeat(300)] {
            assert!(NameTemplate::parse(text).is_err(), "{text}");
        }
        for text in ["nightly", "gha:{repository}", "{/kubernetes.io/namespace}.{sub}"] {
            assert!(NameTemplate::parse(text).is_ok(), "{text}");
        }
    }
}
