//! The AWS principals for which a grant is: an ARN with wildcards.

/// The principals for which a grant is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalPattern {
    text: String,
    /// The account, if the pattern itself leaves it open.
    account: Option<String>,
}

impl PrincipalPattern {
    /// Reads a pattern: an ARN of IAM or STS. `*` stands for any characters, and `?` for one, as in IAM's policies.
    ///
    /// # Errors
    /// The reason why it is not one.
    pub fn parse(text: &str, account: Option<&str>) -> Result<Self, &'static str> {
        let fields: Vec<&str> = text.split(':').collect();
        let ["arn", partition, service, "", owner, resource] = fields[..] else {
            return Err("not the ARN of a principal");
        };
        if !is_partition(partition) || !matches!(service, "iam" | "sts") || resource.is_empty() {
            return Err("not the ARN of a principal");
        }
        if text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("not the ARN of a principal");
        }
        if account.is_some_and(|account| !is_account(account)) {
            return Err("an account has 12 digits");
        }
        // SECURITY: a role of any name can be created in any account of the world.
        match account {
            None if !is_account(owner) => return Err("it has no account"),
            Some(account) if owner != "*" && owner != account => return Err("it is in another account than `account`"),
            _ => {}
        }
        if service == "iam" && resource.strip_prefix("role/").is_some_and(|name| name.contains('/')) {
            return Err("STS does not state the path of a role");
        }
        if service == "iam" && resource.starts_with("assumed-role/") {
            return Err("an assumed role is written with `role/`, or with `sts` and the name of its session");
        }
        Ok(Self { text: text.to_owned(), account: account.map(ToOwned::to_owned) })
    }

    /// Returns true if the pattern is for the principal with this ARN.
    #[must_use]
    pub fn matches(&self, arn: &str) -> bool {
        let (mine, theirs) = (self.text.split(':'), arn.split(':').collect::<Vec<_>>());
        let is_account = self.account.as_deref().is_none_or(|account| theirs.get(4) == Some(&account));
        // An ARN of an identity has six fields, like every pattern.
        is_account && theirs.len() == 6 && mine.zip(&theirs).all(|(pattern, field)| is_match(pattern, field))
    }
}

/// Returns true for the name of a partition of AWS.
pub(super) fn is_partition(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    (text == "aws" || text.starts_with("aws-")) && text.bytes().all(is_plain)
}

/// Returns true for the number of an account.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Matches a pattern with `*` and `?`. The time is at most the product of both lengths.
fn is_match(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[here] => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((last, taken)) = star else { return false };
                star = Some((last, taken + 1));
                (at, here) = (last + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_for_principals_of_one_account() {
        let job = ["arn:aws:iam::123456789012:role/ml-train", "arn:aws:sts::123456789012:assumed-role/ml-train/i-0abc"];
        let user = ["arn:aws:iam::123456789012:user/dev/ada"; 2];
        let matches = |text: &str, account: Option<&str>, arns: &[&str; 2]| {
            let pattern = PrincipalPattern::parse(text, account).expect(text);
            arns.iter().any(|arn| pattern.matches(arn))
        };
        for text in [
            "arn:aws:iam::123456789012:role/ml-*",
            "arn:aws:iam::123456789012:role/ml-trai?",
            "arn:aws:iam::123456789012:*",
            "arn:aws:sts::123456789012:assumed-role/ml-train/*",
        ] {
            assert!(matches(text, None, &job), "{text}");
        }
        assert!(matches("arn:aws:iam::*:role/ml-*", Some("123456789012"), &job));
        assert!(matches("arn:aws:iam::123456789012:user/dev/*", None, &user));
        assert!(matches("arn:aws:iam::123456789012:user/*", None, &user));
        for text in [
            "arn:aws:iam::123456789012:role/ml",
            "arn:aws:iam::123456789012:role/ml-trainer",
            "arn:aws:iam::123456789012:role/*-x",
            "arn:aws:iam::210987654321:role/ml-*",
            "arn:aws-cn:iam::123456789012:role/ml-*",
            "arn:aws:iam::123456789012:user/*",
            "arn:aws:sts::123456789012:assumed-role/ml-train/j-*",
            "arn:aws:iam::123456789012:root",
        ] {
            assert!(!matches(text, None, &job), "{text}");
        }
        assert!(!matches("arn:aws:iam::*:role/ml-*", Some("210987654321"), &job));
    }

    #[test]
    fn patterns_without_an_account_or_with_a_path_are_rejected() {
        for (text, account) in [
            ("", None),
            ("*", None),
            ("role/ml-*", None),
            ("arn:aws:iam::*:role/ml-*", None),
            ("arn:aws:iam::12345678901?:role/ml-*", None),
            ("arn:aws:iam::123456789012:role/ml-*", Some("210987654321")),
            ("arn:aws:iam::*:role/ml-*", Some("1234")),
            ("arn:aws:iam::*:role/ml-*", Some("*")),
            ("arn:*:iam::123456789012:role/ml-*", None),
            ("arn:aws:iam::123456789012:role/path/ml-*", None),
            ("arn:aws:iam::123456789012:assumed-role/ml/x", None),
            ("arn:aws:s3::123456789012:role/ml-*", None),
            ("arn:aws:iam::123456789012:role/a:b", None),
            ("arn:aws:iam::123456789012:role/a b", None),
            ("arn:aws:iam::123456789012:", None),
        ] {
            assert!(PrincipalPattern::parse(text, account).is_err(), "{text}");
        }
    }

    #[test]
    fn wildcards_are_matched_in_bounded_time() {
        let (pattern, text) = ("*a".repeat(1000), "a".repeat(999) + "b");
        assert!(!is_match(&pattern, &text));
        for (pattern, text, expected) in
            [("", "", true), ("*", "", true), ("?", "", false), ("a*b*c", "axxbyyc", true), ("a*b", "abc", false)]
        {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        }
    }
}
