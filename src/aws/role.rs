//! A role to assume, with the limits that STS puts on each part. This module is pure.

use std::time::Duration;

/// A role and how to assume it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// `arn:aws:iam::<account>:role/<path and name>`.
    pub arn: String,
    /// The external id that trust policies of other accounts may demand.
    pub external_id: Option<String>,
    /// The session's name, which CloudTrail shows.
    pub session_name: String,
    /// The lifetime of each set of credentials.
    pub duration: Duration,
    /// The way in which a session names its caller to CloudTrail; without it all callers share one session.
    pub caller_naming: Option<CallerNaming>,
}

/// The ways in which a session can carry a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerNaming {
    /// The session has the name as its source identity, which stays in CloudTrail through further roles.
    SourceIdentity,
    /// The session has the name in its tag `caller`, which policies may refer to.
    SessionTag,
}

/// The reason why a part of a [`AssumedRole`] is refused. The limits are those of the STS `AssumeRole` reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// The text is not the ARN of an IAM role.
    #[error("it is not the ARN of a role: expected `arn:aws:iam::<account>:role/<name>`")]
    NotARole,
    /// A session name that STS would refuse.
    #[error("a session name has 2 to 64 characters out of letters, digits and `+=,.@_-`")]
    SessionName,
    /// An external id that STS would refuse.
    #[error("an external id has 2 to 1224 characters out of letters, digits and `+=,.@:/_-`")]
    ExternalId,
    /// A lifetime that STS would refuse.
    #[error("a session lasts between 15 minutes and 12 hours (1 hour at most when a role assumes a role)")]
    Duration,
}

/// Checks the ARN of a role.
///
/// # Errors
/// [`RoleError::NotARole`].
pub fn check_arn(text: &str) -> Result<(), RoleError> {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let [scheme, partition, service, region, account, resource] = fields[..] else {
        return Err(RoleError::NotARole);
    };
    let name = resource.strip_prefix("role/").unwrap_or_default();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
    let fits = scheme == "arn"
        && (partition == "aws" || partition.starts_with("aws-"))
        && service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && !name.ends_with('/')
        && name.bytes().all(is_name);
    if fits { Ok(()) } else { Err(RoleError::NotARole) }
}

/// Checks a session name.
///
/// # Errors
/// [`RoleError::SessionName`].
pub fn check_session_name(text: &str) -> Result<(), RoleError> {
    let fits = (2..=64).contains(&text.len()) && has_only(text, b"+=,.@_-");
    if fits { Ok(()) } else { Err(RoleError::SessionName) }
}

/// Checks an external id.
///
/// # Errors
/// [`RoleError::ExternalId`].
pub fn check_external_id(text: &str) -> Result<(), RoleError> {
    let fits = (2..=1224).contains(&text.len()) && has_only(text, b"+=,.@:/_-");
    if fits { Ok(()) } else { Err(RoleError::ExternalId) }
}

/// Checks a session's lifetime.
///
/// # Errors
/// [`RoleError::Duration`].
pub fn check_duration(duration: Duration) -> Result<(), RoleError> {
    let fits = (900..=43_200).contains(&duration.as_secs());
    if fits { Ok(()) } else { Err(RoleError::Duration) }
}

fn has_only(text: &str, extra: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roles_are_roles() {
        for text in ["arn:aws:iam::123456789012:role/a", "arn:aws-us-gov:iam::123456789012:role/path/to/a_b"] {
            assert_eq!(check_arn(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "role/a",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam:us-east-1:123456789012:role/a",
            "arn:aws:iam::1234:role/a",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:sts::123456789012:assumed-role/a/b",
        ] {
            assert_eq!(check_arn(text), Err(RoleError::NotARole), "{text}");
        }
    }

    #[test]
    fn limits_are_those_of_sts() {
        assert!(check_session_name("mlflow-appliance").is_ok());
        for text in ["", "a", "a b", "ü-name", &"a".repeat(65)] {
            assert_eq!(check_session_name(text), Err(RoleError::SessionName), "{text}");
        }
        assert!(check_external_id("team:mlflow/1").is_ok());
        assert_eq!(check_external_id("a b"), Err(RoleError::ExternalId));
        assert!(check_duration(Duration::from_secs(900)).is_ok());
        for seconds in [0, 899, 43_201] {
            assert_eq!(check_duration(Duration::from_secs(seconds)), Err(RoleError::Duration), "{seconds}");
        }
    }
}
