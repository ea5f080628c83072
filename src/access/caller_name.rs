//! The name of a caller, as CloudTrail accepts it.
//!
//! CloudTrail accepts few characters, while claims, certificates and ARNs have slashes, colons and spaces. A name that has to be
//! changed ends with a part of its hash, so that two callers never become one. This module is pure.

use ring::digest::{SHA256, digest};

/// The hexadecimal digits of the hash. With 64 bits, nobody finds a second name for a hash.
const DIGITS: usize = 16;
/// The longest beginning of a name that is kept before a hyphen and the hash.
const KEPT: usize = 64 - 1 - DIGITS;

/// Checks the name of a caller: what CloudTrail accepts as a source identity.
///
/// # Errors
/// The valid form of a name.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    let fits = (2..=64).contains(&text.len()) && text.chars().all(is_plain);
    if fits { Ok(()) } else { Err("a name has 2 to 64 characters out of letters, digits and `+=,.@_-`") }
}

/// Returns the name itself if it is valid, and otherwise one that is, and that no other name becomes.
#[must_use]
pub fn fitted(name: &str) -> String {
    // SECURITY: a name that looks like a changed one could be chosen to be equal to it, so it is changed as well.
    let looks_changed = name.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    if check_name(name).is_ok() && !looks_changed {
        return name.to_owned();
    }
    let kept: String = name.chars().take(KEPT).map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    let hash = hex::encode(&digest(&SHA256, name.as_bytes()).as_ref()[..DIGITS / 2]);
    format!("{kept}-{hash}")
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "+=,.@_-".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_changed_stays_unique() {
        assert_eq!(fitted("ada@corp.example"), "ada@corp.example");
        let changed = fitted("repo:corp/ml-x:ref:refs/heads/main");
        assert!(changed.starts_with("repo-corp-ml-x-ref-refs-heads-main-"), "{changed}");
        let names = ["a/b", "a:b", "a b", "a-b", &changed, "a", "ü", &"x".repeat(65), &"x".repeat(66)];
        let mut seen = std::collections::HashSet::new();
        for name in names {
            let fitted = fitted(name);
            assert_eq!(check_name(&fitted), Ok(()), "{fitted}");
            assert!(seen.insert(fitted.clone()), "{name} became {fitted}");
        }
        assert!(!seen.contains(&changed), "a name cannot be chosen to be equal to a changed one");
    }
}
