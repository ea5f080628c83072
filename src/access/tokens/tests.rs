//! The tests of `tokens.rs`.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::access::caller::{Role, Targets};

const NOW: SystemTime = UNIX_EPOCH;

fn two() -> (Tokens, String, String) {
    let random = ring::rand::SystemRandom::new();
    let (first, second) = (token::generate(&random).expect("random"), token::generate(&random).expect("random"));
    let entry = |token: &token::NewToken, name: &str, expires| TokenEntry {
        id: token.id.clone(),
        name: name.to_owned(),
        role: Role::Write,
        targets: Targets::Named(vec!["team-a".into(), "default".into()]),
        created: NOW,
        expires,
        hash: token.hash,
        personal: None,
    };
    let mut tokens = Tokens::default();
    tokens.add(entry(&first, "ci", None)).expect("added");
    tokens.add(entry(&second, "ada", Some(NOW + Duration::from_secs(60)))).expect("added");
    (tokens, first.to_string(), second.to_string())
}

#[test]
fn a_written_file_can_be_read() {
    let (tokens, first, second) = two();
    let text = tokens.to_string();
    assert!(!text.contains(&first) && !text.contains(&first[16..]), "no secret is in the file");
    let read = Tokens::parse(&text).expect("readable");
    assert_eq!(read.to_string(), text);
    let later = NOW + Duration::from_secs(60);
    assert_eq!(read.find(&first, later).map(|entry| entry.name.as_str()), Ok("ci"));
    assert_eq!(read.find(&second, NOW).map(|entry| entry.name.as_str()), Ok("ada"));
    assert_eq!(read.find(&second, later).err(), Some(TokenRejection::Expired));
}

#[test]
fn a_revoked_token_is_unknown() {
    let (mut tokens, first, second) = two();
    assert_eq!(tokens.revoke("ci").len(), 1);
    assert_eq!(tokens.revoke("ci").len(), 0);
    assert_eq!(tokens.find(&first, NOW).err(), Some(TokenRejection::Unknown));
    assert!(tokens.find(&second, NOW).is_ok());
    let id = token::id(&second).expect("a token");
    assert!(tokens.by_id(id, NOW).is_ok());
    assert_eq!(tokens.by_id("x", NOW).err(), Some(TokenRejection::Unknown));
}

#[test]
fn another_secret_under_a_known_id_is_unknown() {
    let (tokens, first, _) = two();
    let other = token::generate(&ring::rand::SystemRandom::new()).expect("random").to_string();
    assert_eq!(tokens.find(&other, NOW).err(), Some(TokenRejection::Unknown));
    assert_eq!(tokens.find("", NOW).err(), Some(TokenRejection::Malformed));
    assert_eq!(tokens.find(&format!("{first} "), NOW).err(), Some(TokenRejection::Malformed));
    // A known id with the secret and the check of another token.
    let mixed = format!("{}{}", &first[..16], &other[16..]);
    assert_eq!(tokens.find(&mixed, NOW).err(), Some(TokenRejection::Malformed));
    let mut guessed = first.clone();
    guessed.replace_range(guessed.len() - 1.., if first.ends_with('a') { "b" } else { "a" });
    assert_eq!(tokens.find(&guessed, NOW).err(), Some(TokenRejection::Malformed), "only the check differs");
}

#[test]
fn an_invalid_entry_is_reported() {
    let (tokens, ..) = two();
    let text = tokens.to_string();
    for (from, to, expected) in [
        ("role = \"write\"", "role = \"root\"", "a role is `read`, `write` or `admin`"),
        ("role", "rule", "line 6: unknown field `rule`"),
        ("name = \"ci\"", "name = \"c i\"", "a name has 2 to 64"),
        ("created = \"19", "created = \"x", "`created` is not a time"),
        ("targets = [\"team-a\", \"default\"]", "targets = []", "`targets` is empty"),
        ("sha256 = \"", "sha256 = \"z", "`sha256` is not 64"),
        ("[[token]]", "[token", "line 3"),
    ] {
        let error = Tokens::parse(&text.replacen(from, to, 1)).err().expect(to).to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let twice = format!("{text}{}", &text[text.find("[[token]]").expect("one")..]);
    assert!(Tokens::parse(&twice).is_err(), "two of one id");
    assert_eq!(Tokens::parse(&" ".repeat(SIZE_LIMIT + 1)).err(), Some(TokensError::TooLarge));
    assert_eq!(Tokens::parse("").map(|tokens| tokens.entries().len()).ok(), Some(0));
}
