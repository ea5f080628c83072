//! Makes text of others fit for a report: one short line without control characters and without secrets.

use aws_credential_types::Credentials;

/// The longest text. Characters.
const LENGTH_LIMIT: usize = 400;
/// A run of this many characters of Base64 is a signature or a token; ids and names are shorter. Characters.
const SECRET_LENGTH: usize = 60;

/// Returns the text for a report.
///
/// SECURITY: a rejected signature gets a message that repeats the request, with its session token and its signature.
pub(super) fn redacted(text: &str, credentials: &Credentials) -> String {
    let mut text = text.to_owned();
    let secrets = [Some(credentials.secret_access_key()), credentials.session_token()];
    for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    let words: Vec<String> = text.split(|c: char| c.is_whitespace() || c.is_control()).map(without_secrets).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH_LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Replaces each long run of characters that Base64, hex and escaped text consist of.
fn without_secrets(word: &str) -> String {
    let (mut clean, mut run) = (String::new(), String::new());
    for character in word.chars().map(Some).chain([None]) {
        match character {
            Some(one) if one.is_ascii_alphanumeric() || "+/=_-%.".contains(one) => run.push(one),
            other => {
                clean.push_str(if run.len() >= SECRET_LENGTH { "…" } else { &run });
                run.clear();
                clean.extend(other);
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_neither_secrets_nor_control_characters() {
        let credentials = Credentials::new("AKID", "secret/key", Some("short-token".into()), None, "test");
        let long = "a".repeat(64);
        for (text, expected) in [
            ("403 Forbidden: no\r\n\u{1b}[2J way\u{202e}".to_owned(), "403 Forbidden: no [2J way\u{202e}".to_owned()),
            (format!("Signature={long}, x"), "…, x".to_owned()),
            ("token short-token key=secret/key".to_owned(), "token … key=…".to_owned()),
            ("arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-X".to_owned(), {
                "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-X".to_owned()
            }),
        ] {
            assert_eq!(redacted(&text, &credentials), expected);
        }
        let line = redacted(&"word ".repeat(200), &credentials);
        assert_eq!(line.chars().count(), LENGTH_LIMIT + 1);
    }
}
