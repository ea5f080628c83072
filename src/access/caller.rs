//! A caller: a name, a role, targets, and how it was recognised.

use std::fmt;
use std::str::FromStr;

/// What a caller may do at most; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// See.
    Read,
    /// Log, create, change and delete experiments, models, traces and what belongs to them.
    Write,
    /// Everything, also what the route table does not know.
    Admin,
}

impl Role {
    /// The role's name in files and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Not the name of a [`Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is `read`, `write` or `admin`")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|role| role.as_str() == text).ok_or(NotARole)
    }
}

/// Which targets a caller may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All that there are.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Targets {
    /// True if the target of this name is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// How a caller was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Means {
    /// A token in `Authorization`.
    Token,
    /// A browser's cookie, given in exchange for a token.
    Session,
    /// What a load balancer says of a user who signed in there.
    Oidc,
    /// A client certificate.
    Certificate,
    /// Not at all.
    Anonymous,
}

impl Means {
    /// A word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Oidc => "oidc",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For logs, limits and CloudTrail.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where it may do that.
    pub targets: Targets,
    /// How it was recognised.
    pub means: Means,
}

/// What somebody is granted who is not in the token file: a holder of a client certificate or a user who signed in at the
/// load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it is for.
    pub to: Subject,
    /// The name they go by; by default the one that they bring.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Where.
    pub targets: Targets,
}

/// Whom a [`Grant`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The holder of a certificate with this name, as in `uri:spiffe://corp/ci`.
    Certificate(String),
    /// A user of whom the identity provider says this: the claim is the value, or a list with it.
    Claim {
        /// The claim.
        name: String,
        /// What it has to be.
        value: String,
    },
    /// Any user who signed in.
    AnyUser,
}

impl Grant {
    /// The first of the grants that is for such a subject.
    #[must_use]
    pub fn first(grants: &[Self], is_meant: impl Fn(&Subject) -> bool) -> Option<&Self> {
        grants.iter().find(|grant| is_meant(&grant.to))
    }

    /// The caller that it makes of somebody who brings the name `own`.
    #[must_use]
    pub fn caller(&self, own: &str, means: Means) -> Caller {
        let name = self.name.clone().unwrap_or_else(|| own.to_owned());
        Caller { name, role: self.role, targets: self.targets.clone(), means }
    }
}

/// Checks the name of a caller: what CloudTrail accepts as a source identity.
///
/// # Errors
/// What a name looks like.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    let fits = (2..=64).contains(&text.len()) && text.bytes().all(is_plain);
    if fits { Ok(()) } else { Err("a name has 2 to 64 characters out of letters, digits and `+=,.@_-`") }
}

/// True for what a target may be called: a part of a path, in lower case.
#[must_use]
pub fn is_target_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_first_grant_that_is_meant_decides() {
        let grant = |to, role| Grant { to, name: None, role, targets: Targets::All };
        let grants = [
            grant(Subject::Certificate("dns:ci".into()), Role::Write),
            grant(Subject::AnyUser, Role::Read),
            grant(Subject::AnyUser, Role::Admin),
        ];
        let found = Grant::first(&grants, |subject| *subject == Subject::AnyUser).expect("there are two");
        assert_eq!(found.caller("ada", Means::Oidc).role, Role::Read);
        assert_eq!(Grant::first(&grants, |subject| *subject == Subject::Certificate("dns:x".into())), None);
    }

    #[test]
    fn names_are_what_cloudtrail_accepts() {
        for name in ["ci", "ada@corp.example", "team=a,b+c_d-e"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a", "a b", "a\nb", "ü1", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
