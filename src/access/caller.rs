//! A caller: a name, a role, targets, and the method of authentication.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use super::caller_name::fitted;
use crate::labelled::labelled;

labelled! {
    /// The permissions of a caller. Each role includes those before it.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Role {
        /// Read-only access.
        Read = "read",
        /// Read access, and creating, changing and deleting experiments, models, traces and their parts.
        Write = "write",
        /// All actions, also those that the route table does not contain.
        Admin = "admin",
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is not the name of a [`Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is `read`, `write` or `admin`")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        Self::parse(text).ok_or(NotARole)
    }
}

/// The targets that a caller may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All targets.
    All,
    /// The targets of these names.
    Named(Vec<String>),
}

impl Targets {
    /// Returns true if the caller may use the target of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }

    /// Returns true if these are all of the others, or some of them.
    #[must_use]
    pub fn are_within(&self, others: &Self) -> bool {
        match (self, others) {
            (_, Self::All) => true,
            (Self::All, Self::Named(_)) => false,
            (Self::Named(names), others) => names.iter().all(|name| others.contains(name)),
        }
    }

    /// Returns the targets that are in one of both.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        match (self, others) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Named(mut names), Self::Named(others)) => {
                let new: Vec<_> = others.iter().filter(|name| !names.contains(name)).cloned().collect();
                names.extend(new);
                Self::Named(names)
            }
        }
    }

    /// Returns the targets that are in both.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        match (self, others) {
            (Self::All, others) => others.clone(),
            (own, Self::All) => own.clone(),
            (Self::Named(names), others) => {
                Self::Named(names.iter().filter(|name| others.contains(name)).cloned().collect())
            }
        }
    }
}

/// The method with which a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A token in `Authorization`.
    Token,
    /// A browser's cookie, given in exchange for a token.
    Session,
    /// The JWT of a load balancer about a user who signed in there.
    Oidc,
    /// A client certificate.
    Certificate,
    /// The JWT of a trusted issuer in `Authorization`.
    Jwt,
    /// A personal token, which acts for the person who made it.
    Personal(OwnerSignIn),
    /// A token that AWS has confirmed as one of an AWS identity.
    Aws,
    /// No authentication.
    Anonymous,
}

labelled! {
    /// The method with which the owner of a personal token signs in.
    #[derive(Hash)]
    pub enum OwnerSignIn {
        /// A session that began with a token of an operator.
        Token = "token",
        /// The sign-in at a load balancer.
        Oidc = "oidc",
        /// The sign-in at a trusted issuer.
        Issuer = "issuer",
        /// A client certificate.
        Certificate = "certificate",
    }
}

impl AuthMethod {
    /// Returns the name of the method in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Oidc => "oidc",
            Self::Certificate => "certificate",
            Self::Jwt => "jwt",
            Self::Personal(_) => "personal",
            Self::Aws => "aws",
            Self::Anonymous => "anonymous",
        }
    }
}

/// The authenticated identity behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name for logs, limits and CloudTrail.
    pub name: String,
    /// The permissions of the caller.
    pub role: Role,
    /// The targets that the caller may use.
    pub targets: Targets,
    /// The method of authentication.
    pub auth_method: AuthMethod,
    /// The name of the issuer whose JWT named the caller, if one did.
    pub issuer: Option<Arc<str>>,
    /// The end of the personal token, the JWT or the AWS identity token in the request; nothing for other methods.
    pub expires: Option<SystemTime>,
}

impl Caller {
    /// Returns the method with which a person has signed in; nothing if a program may have sent the request.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerSignIn> {
        match self.auth_method {
            AuthMethod::Session if self.issuer.is_some() => Some(OwnerSignIn::Issuer),
            AuthMethod::Session => Some(OwnerSignIn::Token),
            AuthMethod::Oidc => Some(OwnerSignIn::Oidc),
            AuthMethod::Certificate => Some(OwnerSignIn::Certificate),
            AuthMethod::Token | AuthMethod::Jwt | AuthMethod::Personal(_) | AuthMethod::Aws | AuthMethod::Anonymous => {
                None
            }
        }
    }

    /// Returns the name as CloudTrail accepts it. No two callers have the same, unless they have the same name.
    #[must_use]
    pub fn source_identity(&self) -> Cow<'_, str> {
        match self.auth_method {
            // These are fitted when they are made, so they stay as they are in the logs.
            AuthMethod::Jwt | AuthMethod::Aws | AuthMethod::Personal(OwnerSignIn::Issuer) => (&self.name).into(),
            AuthMethod::Session if self.issuer.is_some() => (&self.name).into(),
            _ => fitted(&self.name).into(),
        }
    }
}

/// Returns true for a valid name of a target: a part of a path, in lower case.
#[must_use]
pub fn is_target_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller_name::check_name;

    #[test]
    fn two_callers_never_have_one_source_identity() {
        let caller = |name: &str, auth_method| Caller {
            name: name.to_owned(),
            role: Role::Read,
            targets: Targets::All,
            auth_method,
            issuer: None,
            expires: None,
        };
        let certificate = |name: &str| caller(name, AuthMethod::Certificate).source_identity().into_owned();
        assert_eq!(certificate("ada@corp.example"), "ada@corp.example");
        let (long, other) = ("x".repeat(100), "x".repeat(101));
        let mut seen = std::collections::HashSet::new();
        for name in
            ["uri:spiffe://corp/ci", "uri:spiffe:..corp.ci", "uri-spiffe---corp-ci", "a", "", "ü b", &long, &other]
        {
            let identity = certificate(name);
            assert_eq!(check_name(&identity), Ok(()), "{name}");
            assert!(seen.insert(identity.clone()), "{name} became {identity}");
        }
        let changed = certificate("uri:spiffe://corp/ci");
        assert_ne!(certificate(&changed), changed, "a name cannot be chosen to be equal to another's");
        assert_eq!(caller(&changed, AuthMethod::Jwt).source_identity(), changed, "this one is changed already");
    }

    #[test]
    fn roles_are_ordered_and_spelled_one_way() {
        assert!(Role::Read < Role::Write && Role::Write < Role::Admin);
        for role in [Role::Read, Role::Write, Role::Admin] {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for text in ["", "Read", "root", "read "] {
            assert_eq!(text.parse::<Role>(), Err(NotARole), "{text}");
        }
    }

    #[test]
    fn targets_are_sets() {
        let named = |names: &str| Targets::Named(names.split(' ').map(ToOwned::to_owned).collect());
        let (all, ab, bc) = (Targets::All, named("a b"), named("b c"));
        for (one, other, both, either, is_within) in [
            (&all, &all, &all, &all, true),
            (&all, &ab, &ab, &all, false),
            (&ab, &all, &ab, &all, true),
            (&ab, &ab, &ab, &ab, true),
            (&ab, &bc, &named("b"), &named("a b c"), false),
            (&named("b"), &bc, &named("b"), &bc, true),
        ] {
            assert_eq!((&one.and(other), &one.clone().or(other)), (both, either), "{one:?} {other:?}");
            assert_eq!(one.are_within(other), is_within, "{one:?} {other:?}");
        }
    }

    #[test]
    fn names_follow_the_rules_of_cloudtrail() {
        for name in ["ci", "ada@corp.example", "team=a,b+c_d-e"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a", "a b", "a\nb", "ü1", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
