//! A grant: what the operator allows to a subject that is not in the token file.

use super::aws_principal::PrincipalPattern;
use super::caller::{AuthMethod, Caller, Role, Targets};

/// A grant to a subject that is not in the token file: the holder of a client certificate, a user who signed in at the load
/// balancer, or an AWS identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The subject of the grant.
    pub to: Subject,
    /// The name of the caller; by default the one in the certificate or the JWT.
    pub name: Option<String>,
    /// The role of the caller.
    pub role: Role,
    /// The targets that the caller may use.
    pub targets: Targets,
}

/// The subject of a [`Grant`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The holder of a certificate with this name, as in `uri:spiffe://corp/ci`.
    Certificate(String),
    /// A user with a claim of the identity provider that is this value, or a list with it.
    Claim {
        /// The name of the claim.
        name: String,
        /// The value of the claim.
        value: String,
    },
    /// Any user who signed in.
    AnyUser,
    /// The AWS identities that this pattern is for.
    AwsPrincipal(PrincipalPattern),
}

impl Grant {
    /// Returns the first grant for such a subject.
    #[must_use]
    pub fn first(grants: &[Self], is_meant: impl Fn(&Subject) -> bool) -> Option<&Self> {
        grants.iter().find(|grant| is_meant(&grant.to))
    }

    /// Returns the caller for a subject whose own name is `own`.
    #[must_use]
    pub fn caller(&self, own: &str, auth_method: AuthMethod) -> Caller {
        let name = self.name.clone().unwrap_or_else(|| own.to_owned());
        Caller { name, role: self.role, targets: self.targets.clone(), auth_method, issuer: None, expires: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_grant_decides() {
        let grant = |to, role| Grant { to, name: None, role, targets: Targets::All };
        let grants = [
            grant(Subject::Certificate("dns:ci".into()), Role::Write),
            grant(Subject::AnyUser, Role::Read),
            grant(Subject::AnyUser, Role::Admin),
        ];
        let found = Grant::first(&grants, |subject| *subject == Subject::AnyUser).expect("there are two");
        assert_eq!(found.caller("ada", AuthMethod::Oidc).role, Role::Read);
        assert_eq!(Grant::first(&grants, |subject| *subject == Subject::Certificate("dns:x".into())), None);
    }
}
