//! An AWS identity as STS states it: its principal, and a name that fits into logs.

use super::aws_principal::{is_account, is_partition};
use super::caller_name::fitted;

/// An identity, as `GetCallerIdentity` states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsIdentity {
    /// The ARN that STS states, as in `arn:aws:sts::123456789012:assumed-role/ml-train/i-0abc`.
    pub arn: String,
    /// The ARN of the role, user or account behind it, as in `arn:aws:iam::123456789012:role/ml-train`.
    pub principal: String,
    /// A name for logs, limits and CloudTrail: the role and the session, or the user.
    pub name: String,
}

impl AwsIdentity {
    /// Reads what STS states. Returns nothing for an ARN that is not an identity of this account.
    ///
    /// The ARN of an assumed role has no path. That loses nothing, because two roles of one account never have the same name.
    #[must_use]
    pub fn read(arn: &str, account: &str) -> Option<Self> {
        let fields: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, service, "", owner, resource] = fields[..] else { return None };
        let is_plain = arn.len() <= 2048 && arn.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !is_account(owner) || owner != account || !is_partition(partition) {
            return None;
        }
        let mut parts = resource.split('/');
        let (principal, name) = match (service, parts.next()?, parts.collect::<Vec<_>>().as_slice()) {
            ("sts", "assumed-role", [role, session]) => {
                (format!("arn:{partition}:iam::{owner}:role/{role}"), format!("{role}@{session}"))
            }
            ("sts", "federated-user", [user]) => (arn.to_owned(), (*user).to_owned()),
            ("iam", "user", [.., user]) => (arn.to_owned(), (*user).to_owned()),
            ("iam", "root", []) => (arn.to_owned(), format!("root@{owner}")),
            _ => return None,
        };
        Some(Self { arn: arn.to_owned(), principal, name: fitted(&name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller_name::check_name;

    fn identity(arn: &str) -> AwsIdentity {
        AwsIdentity::read(arn, "123456789012").expect(arn)
    }

    #[test]
    fn an_identity_has_a_principal_and_a_name() {
        for (arn, principal, name) in [
            (
                "arn:aws:sts::123456789012:assumed-role/ml-train/i-0abc",
                "arn:aws:iam::123456789012:role/ml-train",
                "ml-train@i-0abc",
            ),
            (
                "arn:aws-cn:sts::123456789012:assumed-role/a/ada@corp.example",
                "arn:aws-cn:iam::123456789012:role/a",
                "a@ada@corp.example",
            ),
            ("arn:aws:iam::123456789012:user/dev/ada", "arn:aws:iam::123456789012:user/dev/ada", "ada"),
            ("arn:aws:sts::123456789012:federated-user/bob", "arn:aws:sts::123456789012:federated-user/bob", "bob"),
            ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root", "root@123456789012"),
        ] {
            let found = identity(arn);
            assert_eq!((found.principal.as_str(), found.name.as_str()), (principal, name), "{arn}");
        }
        for arn in [
            "",
            "arn:aws:sts::123456789012:assumed-role/a",
            "arn:aws:sts::123456789012:assumed-role/a/b/c",
            "arn:aws:sts::210987654321:assumed-role/a/b",
            "arn:aws:sts:us-east-1:123456789012:assumed-role/a/b",
            "arn:aws:iam::123456789012:role/a",
            "arn:aws:iam::123456789012:group/a",
            "arn:aws:iam::123456789012:user/a:b",
            "arn:evil:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:user/a b",
        ] {
            assert_eq!(AwsIdentity::read(arn, "123456789012"), None, "{arn}");
        }
    }

    #[test]
    fn names_that_are_too_long_or_too_short_stay_valid_and_apart() {
        let long = |end: char| {
            identity(&format!("arn:aws:sts::123456789012:assumed-role/{}/{}{end}", "r".repeat(64), "s".repeat(63))).name
        };
        let (one, two) = (long('1'), long('2'));
        assert_ne!(one, two);
        let short = identity("arn:aws:iam::123456789012:user/x").name;
        for name in [one, two, short] {
            assert_eq!(check_name(&name), Ok(()), "{name}");
        }
    }
}
