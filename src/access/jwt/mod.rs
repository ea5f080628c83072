//! JSON Web Tokens of trusted issuers, as bearer tokens: parsing, checks, verification, and what their claims grant.
//!
//! SECURITY: a token chooses nothing. Its issuer is one of those in the configuration, by its exact URL; its algorithm is on that
//! issuer's list and fits the kind of the key; and its `kid` only selects among the keys that the issuer publishes. Keys and
//! addresses within a token (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
//!
//! ring verifies the signatures. The known crates for JOSE have no ring behind them any more.

mod algorithm;
mod claims;
mod error;
mod grant;
mod issuer;
mod key;
mod key_set;
mod name;
mod strict_json;
mod unverified;

pub use algorithm::JwtAlgorithm;
pub use claims::{ClaimPath, ClaimPattern, JwtClaims};
pub use error::JwtError;
pub use grant::ClaimGrant;
pub use issuer::JwtIssuer;
pub use key::{KeyRejected, VerificationKey};
pub use key_set::{KeySet, KeySetError};
pub use name::NameTemplate;
pub use unverified::{LENGTH_LIMIT, UnverifiedJwt};

/// Returns true if a bearer token can only be a JWT.
#[must_use]
pub fn looks_like_jwt(token: &str) -> bool {
    token.starts_with("eyJ") || token.contains('.')
}

#[cfg(test)]
mod tests;
