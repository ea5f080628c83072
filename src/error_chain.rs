//! An error and its causes as one line.

use std::error::Error;

/// The texts of `error` and everything beneath it, outermost first, without repetitions.
///
/// Uses `Display` only: the `Debug` of a library's error may hold a request or a response, and with it a secret.
#[must_use]
pub fn joined(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in beneath(error) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The texts of the causes of `error`, outermost first.
pub fn beneath(error: &(dyn Error + 'static)) -> impl Iterator<Item = String> {
    std::iter::successors(error.source(), |cause| Error::source(*cause)).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_joined_once_each() {
        assert_eq!(joined(&Outer(std::io::Error::other("inner"))), "outer: inner");
        assert_eq!(joined(&Outer(std::io::Error::other("outer"))), "outer");
    }
}
