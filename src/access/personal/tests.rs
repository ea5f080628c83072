//! The rules of personal tokens as a table.

use std::time::UNIX_EPOCH;

use super::*;
use crate::access::tokens::TokenRejection;

const LIMIT: Duration = Duration::from_hours(24 * 90);
const NOW: SystemTime = UNIX_EPOCH;

fn person(name: &str, owner: OwnerSignIn, role: Role, targets: Targets) -> Person {
    Person { name: name.into(), owner, issuer: None, role, targets }
}

fn ada() -> Person {
    person("ada", OwnerSignIn::Oidc, Role::Write, Targets::Named(vec!["a".into(), "b".into()]))
}

fn wanted(id: &str, label: &str) -> Wanted {
    Wanted {
        id: id.into(),
        hash: Hash::of(id),
        label: label.into(),
        role: Role::Read,
        targets: Targets::Named(vec!["a".into()]),
        lifetime: Duration::from_hours(24),
    }
}

#[test]
fn a_person_makes_tokens_within_their_own_rights() {
    let all = || Targets::All;
    for (what, change, expected) in [
        ("a usual one", (|_| {}) as fn(&mut Wanted), None),
        ("the person's own role", |wanted| wanted.role = Role::Write, None),
        ("a higher role", |wanted| wanted.role = Role::Admin, Some(NotMade::Role(Role::Write))),
        ("all targets", |wanted| wanted.targets = Targets::All, Some(NotMade::Targets)),
        ("no target", |wanted| wanted.targets = Targets::Named(Vec::new()), Some(NotMade::Targets)),
        ("another target", |wanted| wanted.targets = Targets::Named(vec!["c".into()]), Some(NotMade::Targets)),
        ("a quote", |wanted| wanted.targets = Targets::Named(vec!["\"".into()]), Some(NotMade::Targets)),
        ("the longest lifetime", |wanted| wanted.lifetime = LIMIT, None),
        ("a longer one", |wanted| wanted.lifetime = LIMIT + Duration::from_secs(1), Some(NotMade::Lifetime(LIMIT))),
        ("none at all", |wanted| wanted.lifetime = Duration::ZERO, Some(NotMade::Lifetime(LIMIT))),
        ("an endless one", |wanted| wanted.lifetime = Duration::MAX, Some(NotMade::Lifetime(LIMIT))),
    ] {
        let mut wanted = wanted("1", "laptop");
        change(&mut wanted);
        let mut tokens = Tokens::default();
        assert_eq!(ada().make(&mut tokens, &wanted, LIMIT, NOW).err(), expected, "{what}");
        assert_eq!(tokens.entries().len(), usize::from(expected.is_none()), "{what}");
    }
    let mut named = wanted("1", "a b");
    let mut tokens = Tokens::default();
    assert!(matches!(ada().make(&mut tokens, &named, LIMIT, NOW), Err(NotMade::Label(_))));
    named = Wanted { targets: Targets::Named(vec!["\"".into()]), ..wanted("1", "ok") };
    for (owner, name, fits) in [
        (OwnerSignIn::Oidc, "bad name", false),
        (OwnerSignIn::Certificate, "subject:CN=Ada Lovelace", true),
        (OwnerSignIn::Certificate, "subject:CN=\"Ada\"", false),
    ] {
        let made = person(name, owner, Role::Read, all()).make(&mut Tokens::default(), &wanted("1", "ok"), LIMIT, NOW);
        assert!(made.is_ok() == fits && !matches!(made, Err(NotMade::Label(_))), "{name}: {made:?}");
    }
    let root = person("root", OwnerSignIn::Token, Role::Admin, all());
    assert_eq!(root.make(&mut tokens, &named, LIMIT, NOW), Err(NotMade::Targets), "no name of a target needs quoting");
}

#[test]
fn names_and_numbers_of_tokens_are_limited_for_each_person() {
    let mut tokens = Tokens::default();
    let make = |tokens: &mut Tokens, who: &Person, id: &str, label: &str, now| {
        who.make(tokens, &wanted(id, label), LIMIT, now)
    };
    for number in 0..PER_PERSON {
        make(&mut tokens, &ada(), &format!("a{number}"), &format!("job-{number}"), NOW).expect("within the limit");
    }
    assert_eq!(make(&mut tokens, &ada(), "x", "job-1", NOW), Err(NotMade::Taken));
    assert_eq!(make(&mut tokens, &ada(), "x", "another", NOW), Err(NotMade::TooMany));
    let other = Person { owner: OwnerSignIn::Token, ..ada() };
    assert_eq!(make(&mut tokens, &other, "a1", "job-1", NOW), Err(NotMade::TwoOfOneId));
    assert_eq!(make(&mut tokens, &other, "x", "job-1", NOW), Ok(()), "a person who signs in otherwise is another one");
    let third = Person { owner: OwnerSignIn::Issuer, issuer: Some("okta".into()), ..ada() };
    assert_eq!(make(&mut tokens, &third, "z", "job-1", NOW), Ok(()));
    let fourth = Person { issuer: Some("entra".into()), ..third };
    assert_eq!(make(&mut tokens, &fourth, "zz", "job-1", NOW), Ok(()), "and so is one of another issuer");
    for (who, count) in [(ada(), PER_PERSON), (other, 1), (fourth, 1)] {
        assert_eq!(who.own(&tokens).count(), count);
    }
    let text = tokens.to_string();
    assert_eq!(Tokens::parse(&text).expect(&text).to_string(), text);
    let later = NOW + Duration::from_hours(24) + KEPT_EXPIRED;
    assert_eq!(make(&mut tokens, &ada(), "y", "job-1", later), Ok(()), "the expired ones are forgotten");
    assert_eq!(tokens.entries().len(), 1);
}

#[test]
fn a_token_loses_what_its_owner_loses() {
    let mut tokens = Tokens::default();
    let admin = person("ada", OwnerSignIn::Oidc, Role::Admin, Targets::All);
    let first = Wanted { role: Role::Admin, targets: Targets::All, ..wanted("1", "one") };
    let second = Wanted { targets: Targets::Named(vec!["c".into()]), ..wanted("2", "two") };
    for wanted in [&first, &second] {
        admin.make(&mut tokens, wanted, LIMIT, NOW).expect("made");
    }
    assert!(!admin.is_exceeded(&tokens) && ada().is_exceeded(&tokens));
    ada().lower(&mut tokens);
    let left: Vec<_> = tokens.entries().iter().map(|entry| (entry.id.as_str(), entry.role, &entry.targets)).collect();
    assert_eq!(left, [("1", Role::Write, &ada().targets)]);
    assert!(!ada().is_exceeded(&tokens));
    let personal = tokens.entries()[0].personal.as_ref().expect("personal");
    let caller = caller(&tokens.entries()[0], personal, (Role::Read, &Targets::Named(vec!["b".into()])));
    assert_eq!((caller.role, &caller.targets), (Role::Read, &Targets::Named(vec!["b".into()])));
    assert_eq!((caller.name.as_str(), caller.auth_method.as_str(), caller.owner()), ("ada", "personal", None));
}

#[test]
fn the_rights_by_tokens_are_those_of_the_best_valid_one() {
    let entry = |id: &str, name: &str, role, expires: Option<u64>| TokenEntry {
        id: id.into(),
        name: name.into(),
        role,
        targets: Targets::All,
        created: NOW,
        expires: expires.map(|seconds| NOW + Duration::from_secs(seconds)),
        hash: Hash::of(id),
        personal: None,
    };
    let mut tokens = Tokens::default();
    for entry in [
        entry("1", "ada", Role::Read, None),
        entry("2", "bob", Role::Admin, None),
        entry("3", "ada", Role::Write, Some(10)),
    ] {
        tokens.add(entry).expect("another id");
    }
    let role =
        |name, seconds| rights_by_tokens(&tokens, name, NOW + Duration::from_secs(seconds)).map(|(role, _)| role);
    assert_eq!(
        (role("ada", 9), role("ada", 10), role("bob", 9)),
        (Some(Role::Write), Some(Role::Read), Some(Role::Admin))
    );
    assert_eq!((role("ad", 9), role("adam", 9), role("", 9)), (None, None, None));
}

#[test]
fn the_file_keeps_all_facts_and_rejects_halves() {
    let mut tokens = Tokens::default();
    ada().make(&mut tokens, &wanted("1", "laptop"), LIMIT, NOW).expect("made");
    let robot = person("uri:spiffe://corp/ada", OwnerSignIn::Certificate, Role::Read, Targets::All);
    robot.make(&mut tokens, &wanted("2", "laptop"), LIMIT, NOW).expect("made");
    tokens.entries()[0].personal.as_ref().expect("personal").used.note(crate::access::day::Day::of(NOW + LIMIT));
    let text = tokens.to_string();
    assert!(text.contains("owner = \"oidc\"\nlabel = \"laptop\"\nused = \"1970-04-01\"\n"), "{text}");
    let read = Tokens::parse(&text).expect(&text);
    assert_eq!(read.to_string(), text);
    assert_eq!(robot.own(&read).count(), 1);
    for (from, to) in [
        ("owner = \"oidc\"\n", ""),
        ("label = \"laptop\"\n", ""),
        ("owner = \"oidc\"", "owner = \"anybody\""),
        ("label = \"laptop\"", "label = \"a b\""),
        ("used = \"1970-04-01\"", "used = \"today\""),
        ("owner = \"certificate\"", "owner = \"oidc\""),
        ("owner = \"oidc\"", "owner = \"issuer\""),
        ("owner = \"oidc\"", "owner = \"oidc\"\nissuer = \"okta\""),
        ("owner = \"oidc\"", "owner = \"issuer\"\nissuer = \"\""),
    ] {
        assert!(text.contains(from) && Tokens::parse(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
    }
    let presented = "mlfa_x";
    assert_eq!(read.find(presented, NOW).err(), Some(TokenRejection::Malformed));
}

#[test]
fn lifetimes_are_days_where_they_can_be() {
    for (seconds, expected) in
        [(86_400, "1 day"), (90 * 86_400, "90 days"), (3600, "1h"), (90_000, "1day 1h"), (0, "0s")]
    {
        assert_eq!(spoken(Duration::from_secs(seconds)), expected);
    }
}
