//! A trusted issuer: the tokens of it that are accepted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::algorithm::JwtAlgorithm;
use super::claims::{ClaimPath, JwtClaims};
use super::error::JwtError;

/// A trusted issuer.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// The name for logs and for `[[caller]]`.
    pub name: Arc<str>,
    /// The value of `iss`, exactly.
    pub url: String,
    /// The values of `aud` that mean this appliance; one of them has to be in a token.
    pub audiences: Vec<String>,
    /// The claim that has the audience; `aud`, but for Cognito's access tokens.
    pub audience_claim: String,
    /// The algorithms that the issuer may use.
    pub algorithms: Vec<JwtAlgorithm>,
    /// The difference between the issuer's clock and ours that is tolerated.
    pub leeway: Duration,
    /// The claim that names a caller whose grant gives no name.
    pub name_claim: ClaimPath,
}

impl JwtIssuer {
    /// Returns the time at which a token with these claims ends, with the leeway.
    ///
    /// # Errors
    /// [`JwtError::NoExpiry`] and [`JwtError::Time`].
    pub fn end(&self, claims: &JwtClaims) -> Result<SystemTime, JwtError> {
        Ok(claims.time("exp")?.ok_or(JwtError::NoExpiry)? + self.leeway)
    }
}
