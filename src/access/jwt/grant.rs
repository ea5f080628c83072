//! The grants of an issuer's tokens: claims, and the role, the targets and the name that they give.

use std::sync::Arc;

use super::claims::{ClaimPattern, JwtClaims};
use super::name::NameTemplate;
use crate::access::caller::{AuthMethod, Caller, Role, Targets};

/// A grant to the holders of an issuer's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimGrant {
    /// The claims that a token has to have, all of them; with none, the grant is for every token of the issuer.
    pub claims: Vec<ClaimPattern>,
    /// The name of the caller; by default the issuer's name claim.
    pub name: Option<NameTemplate>,
    /// The role of the caller.
    pub role: Role,
    /// The targets that the caller may use.
    pub targets: Targets,
}

impl ClaimGrant {
    /// Returns true if the grant is for a token with these claims.
    #[must_use]
    pub fn is_for(&self, claims: &JwtClaims) -> bool {
        self.claims.iter().all(|pattern| pattern.matches(claims))
    }

    /// Returns the caller; nothing if a claim that names it is missing. `own` names callers to whom the grant gives no name.
    #[must_use]
    pub fn caller(
        &self,
        claims: &JwtClaims,
        own: &NameTemplate,
        issuer: &Arc<str>,
        auth_method: AuthMethod,
    ) -> Option<Caller> {
        let name = self.name.as_ref().unwrap_or(own).fill(claims)?;
        let (role, targets) = (self.role, self.targets.clone());
        Some(Caller { name, role, targets, auth_method, issuer: Some(Arc::clone(issuer)), expires: None })
    }
}
