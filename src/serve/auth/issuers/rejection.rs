//! The reasons why the holder of a JWT is rejected, with the issuer.

use std::fmt;
use std::sync::Arc;

use crate::access::jwt::JwtError;

/// The longest `iss` of an unknown issuer in the log. Characters.
const NAMED_LIMIT: usize = 200;

/// The reason why the holder of a JWT is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwtRejectionReason {
    /// The token is not valid.
    Token(JwtError),
    /// The token is valid, and no `[[caller]]` matches its claims.
    NoGrant,
    /// The token is valid, and has no claim that names its holder.
    NoName,
}

/// A rejection, with the issuer.
#[derive(Debug)]
pub(crate) struct JwtRejection {
    /// The name of the configured issuer, if the token names one.
    pub issuer: Option<Arc<str>>,
    /// The unknown issuer that the token names. It is for the log only, because that is how a wrong `url` is found.
    named: Option<String>,
    pub why: JwtRejectionReason,
}

impl From<JwtError> for JwtRejectionReason {
    fn from(why: JwtError) -> Self {
        Self::Token(why)
    }
}

impl JwtRejection {
    /// Returns a rejection of a token of a configured issuer.
    pub(crate) fn by(issuer: &Arc<str>, why: JwtRejectionReason) -> Self {
        Self { issuer: Some(Arc::clone(issuer)), named: None, why }
    }

    /// Returns a rejection of any other token.
    pub(crate) fn of_unknown(why: JwtError, named: Option<&str>) -> Self {
        let named = named.map(|named| named.chars().take(NAMED_LIMIT).flat_map(char::escape_debug).collect());
        Self { issuer: None, named, why: JwtRejectionReason::Token(why) }
    }

    /// Returns the reason, which contains no part of the token.
    pub(crate) fn reason(&self) -> String {
        match &self.why {
            JwtRejectionReason::Token(why) => why.to_string(),
            JwtRejectionReason::NoGrant => "no `[[caller]]` matches its claims".to_owned(),
            JwtRejectionReason::NoName => "the claim that names the caller is missing".to_owned(),
        }
    }
}

impl fmt::Display for JwtRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.issuer, &self.named) {
            (Some(issuer), _) => write!(formatter, "the JWT of the issuer `{issuer}` is rejected: {}", self.reason()),
            (None, Some(named)) => write!(formatter, "the JWT of `{named}` is rejected: {}", self.reason()),
            (None, None) => write!(formatter, "the JWT is rejected: {}", self.reason()),
        }
    }
}

impl std::error::Error for JwtRejection {}
