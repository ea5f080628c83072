//! The name of a caller, made of claims.

use super::claims::{ClaimPath, JwtClaims};
use crate::access::caller_name::{check_name, fitted};

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

#[cfg(test)]
mod tests {
    use super::*;

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
