//! Personal tokens: people make them for their programs, within their own rights, and every appliance of a set accepts them.

use rustix::process::Signal;

use super::callers::{SEARCH, with};
use crate::support::appliance::{Appliance, Builder, run};
use crate::support::personal::{FORM, OWN, PAGE, PersonAt, PersonalFile, id_of};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually};

const CREATE: &str = "/api/2.0/mlflow/runs/create";
const OFTEN: [&str; 2] = ["--reload-interval", "1s"];

#[track_caller]
pub(super) fn status(appliance: &Appliance, token: &str) -> u16 {
    with(appliance, &format!("Bearer {token}")).status
}

#[track_caller]
fn create(appliance: &Appliance, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    appliance.connect().request("POST", CREATE, &[("Authorization", &*authorization)], Some(b"{}")).status
}

#[test]
fn a_token_of_a_person_works_at_every_appliance_until_it_is_revoked() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let audit = tempfile::tempdir().unwrap();
    let audit = audit.path().join("audit.jsonl");
    let one = personal.builder(&upstream, &tokens).with(&["--audit-log", audit.to_str().unwrap()]).start();
    let two = personal.builder(&upstream, &tokens).start();
    let person = PersonAt::sign_in(&one, &ada.text);
    assert!(person.get(PAGE).text().contains("You have no tokens."));
    let token = person.make("laptop", "read");
    // The other appliance reloads its tokens once an hour at the latest here, and at once for an unknown token.
    for appliance in [&one, &two] {
        assert_eq!((status(appliance, &token), create(appliance, &token)), (200, 403), "the token's own role holds");
        appliance.saw("the person", |event| {
            event["caller"] == "ada"
                && event["means"] == "personal"
                && event["role"] == "read"
                && event["status"] == 200
        });
    }
    let seen = upstream.requests().pop().unwrap();
    assert!(!format!("{seen:?}").contains(&token));
    let page = person.get(PAGE);
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    for part in ["laptop", "<dt>Role</dt><dd>read</dd>", "<dt>Last use</dt><dd>20"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    for text in [page.text(), personal.text(), one.log(), two.log(), std::fs::read_to_string(&audit).unwrap()] {
        assert!(!text.contains(&token[16..]), "a token is shown once and stored nowhere: {text}");
    }
    assert!(
        !page.text().contains("<script") && page.header("content-security-policy").starts_with("default-src 'none'")
    );

    assert!(person.revoke(&token).text().contains("1 token was revoked."));
    assert_eq!(status(&one, &token), 401, "at once where it was revoked");
    two.signal(Signal::HUP);
    eventually("the other appliance reloads", || status(&two, &token) == 401);
    assert_eq!(person.revoke(&token).status, 404);
    let events = || std::fs::read_to_string(&audit).unwrap();
    for action in ["personal-tokens:create", "personal-tokens:revoke"] {
        eventually("the audit log has the change", || {
            events()
                .lines()
                .any(|line| line.contains(action) && line.contains(id_of(&token)) && line.contains("\"ada\""))
        });
    }
}

#[test]
fn only_a_person_makes_tokens() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "admin", &[]);
    let appliance = personal.builder(&upstream, &tokens).start();
    let token = PersonAt::sign_in(&appliance, &ada.text).make("laptop", "admin");
    let form = "action=make&name=other&role=read&lifetime=1day";
    for (what, credential) in [("an operator's token", &ada.text), ("a personal token", &token)] {
        let authorization = format!("Bearer {credential}");
        for method in ["GET", "POST"] {
            let headers = [("Authorization", &*authorization), OWN, FORM];
            for page in [PAGE.to_owned(), format!("{PAGE}/confirm")] {
                let answer = appliance.connect().request(method, &page, &headers, Some(form.as_bytes()));
                let found = (answer.status, answer.header("x-appliance-error"));
                assert_eq!(found, (403, "wrong-credential"), "{what}: {method} {page}");
            }
        }
    }
    // A session would let the token make others, and so live for ever.
    let form = format!("token={token}&next=%2F");
    let answer = appliance.connect().request("POST", "/_appliance/login", &[OWN, FORM], Some(form.as_bytes()));
    assert_eq!((answer.status, answer.has("set-cookie")), (401, false));
    // Without a credential, a person signs in first, and comes back.
    let accept = [("Accept", "text/html")];
    let answer = appliance.connect().request("GET", PAGE, &accept, None);
    assert_eq!((answer.status, answer.header("location")), (303, "../_appliance/login?next=%2F_appliance%2Ftokens"));
    let form = format!("token={}&next=%2F_appliance%2Ftokens%2Fconfirm%3Fa", ada.text);
    let answer = appliance.connect().request("POST", "/_appliance/login", &[OWN, FORM], Some(form.as_bytes()));
    assert_eq!((answer.status, answer.header("location")), (303, "../_appliance/tokens/confirm?a"));
    assert_eq!(appliance.connect().request("POST", PAGE, &[OWN, FORM], Some(b"")).status, 401);
    assert_eq!(personal.text().matches("[[token]]").count(), 1);

    let anonymous = Builder::new(&upstream).with(&["--tokens", tokens.path().to_str().unwrap(), "--allow-anonymous"]);
    let anonymous = anonymous.with(&["--personal-tokens", personal.path().to_str().unwrap()]).start();
    assert_eq!(anonymous.get(PAGE).header("x-appliance-error"), "wrong-credential");
    let without = Builder::new(&upstream).with_tokens(&tokens).start();
    let answer = PersonAt::sign_in(&without, &ada.text).get(PAGE);
    assert_eq!((answer.status, answer.header("x-appliance-error")), (404, "no-such-page"));
}

#[test]
fn other_sites_can_neither_make_nor_revoke_tokens() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let appliance = personal.builder(&upstream, &tokens).start();
    let person = PersonAt::sign_in(&appliance, &ada.text);
    let token = person.make("laptop", "read");
    let before = personal.text();
    for proof in
        [("X-Nothing", "1"), ("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "same-site")]
    {
        for form in [
            "action=make&name=evil&role=read&lifetime=1day".to_owned(),
            format!("action=revoke&id={}", id_of(&token)),
            "action=revoke-all".to_owned(),
        ] {
            for page in [PAGE.to_owned(), format!("{PAGE}/confirm")] {
                let headers = [("Cookie", &*person.cookie), proof, FORM];
                let answer = appliance.connect().request("POST", &page, &headers, Some(form.as_bytes()));
                assert_eq!(
                    (answer.status, answer.header("x-appliance-error")),
                    (403, "foreign-origin"),
                    "{proof:?} {form}"
                );
            }
        }
        let headers = [("Authorization", &*format!("Bearer {token}")), ("Origin", "https://evil.example")];
        assert_eq!(appliance.connect().request("DELETE", &format!("{PAGE}/self"), &headers, None).status, 403);
    }
    assert_eq!(personal.text(), before);
    assert_eq!(status(&appliance, &token), 200);
}

#[test]
fn a_token_has_at_most_the_rights_that_its_owner_has_today() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let appliance = personal.builder(&upstream, &tokens).with(&OFTEN).start();
    let person = PersonAt::sign_in(&appliance, &ada.text);
    let token = person.make("laptop", "write");
    for (name, role, lifetime, expected) in [
        ("boss", "admin", "30days", "A token cannot have a higher role than you, and yours is `write`."),
        ("laptop", "read", "30days", "You have a token of this name already."),
        ("long", "read", "91days", "A token can last for 90 days at most."),
        ("none", "read", "0s", "A token can last for"),
        ("odd", "root", "30days", "The form is incomplete."),
        ("a", "read", "30days", "a name has 2 to 64 characters"),
        ("%22%0A", "read", "30days", "a name has 2 to 64 characters"),
        ("%3Cb%3E", "read", "30days", "a name has 2 to 64 characters"),
    ] {
        let answer = person.try_to_make(name, role, lifetime);
        let text = answer.text().replace("&#96;", "`");
        assert!(answer.status == 400 && text.contains(expected), "{name} {role} {lifetime}: {text}");
    }
    let answer = person.post(PAGE, "action=make&name=other&role=read&lifetime=1day&target=elsewhere");
    assert!(
        answer.status == 400 && answer.text().contains("There is no target of the name elsewhere"),
        "{}",
        answer.text()
    );

    assert_eq!(create(&appliance, &token), 200);
    tokens.add("ada", "read", &[]);
    tokens.command(&["revoke", &ada.id]);
    eventually("the person has a lower role now", || create(&appliance, &token) == 403);
    assert_eq!(status(&appliance, &token), 200);
    tokens.command(&["revoke", "ada"]);
    eventually("the person has no token of an operator any more", || status(&appliance, &token) == 401);
    appliance.saw("the reason", |event| {
        event["cause"].as_str().is_some_and(|cause| cause.contains("the person who made it"))
    });
    tokens.add("ada", "admin", &[]);
    eventually("a renewed person", || create(&appliance, &token) == 200);
}

#[test]
fn a_token_expires_and_the_list_says_so() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let appliance = personal.builder(&upstream, &tokens).with(&["--personal-token-lifetime", "10s"]).start();
    let person = PersonAt::sign_in(&appliance, &ada.text);
    assert!(person.get(PAGE).text().contains("<option value=\"10s\">10s</option>"));
    assert_eq!(person.try_to_make("long", "read", "11s").status, 400);
    let answer = person.try_to_make("short", "read", "2s");
    let token = crate::support::personal::token_in(&answer.text());
    assert_eq!(status(&appliance, &token), 200);
    eventually("the token expires", || status(&appliance, &token) == 401);
    assert!(person.get(PAGE).text().contains("(expired)"));
}

#[test]
fn concurrent_changes_lose_nothing_and_a_person_has_twenty_tokens_at_most() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let people = ["ada", "bob"].map(|name| tokens.add(name, "write", &[]));
    let appliances = [(); 2].map(|()| personal.builder(&upstream, &tokens).start());
    let made: Vec<String> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (appliance, token) in
            appliances.iter().flat_map(|appliance| people.iter().map(move |token| (appliance, token)))
        {
            let person = PersonAt::sign_in(appliance, &token.text);
            for number in 0..10 {
                let cookie = person.cookie.clone();
                let name = format!("job-{}-{number}", appliance.address().port());
                threads.push(scope.spawn(move || PersonAt { appliance, cookie }.make(&name, "read")));
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((made.len(), personal.text().matches("[[token]]").count()), (40, 40));
    for token in &made {
        for appliance in &appliances {
            assert_eq!(status(appliance, token), 200);
        }
    }
    let person = PersonAt::sign_in(&appliances[0], &people[0].text);
    let answer = person.try_to_make("one-more", "read", "1day");
    assert!(answer.status == 400 && answer.text().contains("You have 20 tokens"), "{}", answer.text());
    let path = personal.path();
    let arguments = ["token", "revoke", "ada", "--file", path.to_str().unwrap(), "--json"];
    let output = run(&arguments, &[]);
    assert!(output.status.success(), "an operator revokes all of a person: {output:?}");
    let bob = PersonAt::sign_in(&appliances[1], &people[1].text);
    assert!(bob.post(PAGE, "action=revoke-all").text().contains("20 tokens were revoked."));
    assert_eq!(personal.text().matches("[[token]]").count(), 0);
}

#[test]
fn all_tokens_of_a_person_share_the_limits_of_that_person() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let (ada, bob) = (tokens.add("ada", "write", &[]), tokens.add("bob", "write", &[]));
    let limits = ["--caller-rate-limit", "1", "--caller-burst-limit", "20"];
    let appliance = personal.builder(&upstream, &tokens).with(&limits).start();
    let person = PersonAt::sign_in(&appliance, &ada.text);
    let made: Vec<String> = (0..5).map(|number| person.make(&format!("job-{number}"), "read")).collect();
    let codes: Vec<u16> = (0..6).flat_map(|_| made.iter().map(|token| status(&appliance, token))).collect();
    assert!(codes[0] == 200 && codes.iter().filter(|code| **code == 429).count() >= 10, "{codes:?}");
    assert_eq!(status(&appliance, &bob.text), 200);
}

#[test]
fn a_source_that_cannot_be_written_is_named_on_the_page_and_in_the_log() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let missing = "/nonexistent/personal.toml";
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--personal-tokens", missing]).start();
    let answer = PersonAt::sign_in(&appliance, &ada.text).try_to_make("laptop", "read", "1day");
    let text = answer.text();
    assert!(
        answer.status == 503 && text.contains("cannot change the personal tokens") && text.contains(missing),
        "{text}"
    );
    assert!(!text.contains("mlfa_"));
    assert!(appliance.log().contains("cannot change the personal tokens"), "{}", appliance.log());
    assert_eq!(appliance.get(SEARCH).status, 401, "everything else works");
    let path = tokens.path();
    for (source, expected) in [
        (path.to_str().unwrap(), "this is the source of `tokens` as well"),
        ("credential:personal", "the appliance cannot change a credential of systemd"),
        ("ssm:a b", "not the name of a secret"),
    ] {
        let output = run(
            &[
                "check",
                "--offline",
                "--resource-arn",
                crate::support::appliance::TRACKING_ARN,
                "--tokens",
                path.to_str().unwrap(),
                "--personal-tokens",
                source,
            ],
            &[],
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && said.contains(expected), "{source}: {said}");
    }
}
