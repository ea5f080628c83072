//! Authentication by tokens as clients send them, their change while the appliance runs, and allowed networks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, python};

pub(super) const SEARCH: &str = "/api/2.0/mlflow/experiments/search";

#[track_caller]
pub(super) fn with(appliance: &Appliance, authorization: &str) -> Answer {
    appliance.connect().request("GET", SEARCH, &[("Authorization", authorization)], None)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_token_is_accepted_as_bearer_and_as_password_and_never_reaches_the_upstream() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "write", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    for authorization in [token.bearer(), basic("anybody", &token.text), basic("", &token.text)] {
        assert_eq!(with(&appliance, &authorization).status, 200);
        let seen = upstream.requests().pop().unwrap();
        assert!(seen.header("authorization").starts_with("AWS4-HMAC-SHA256 "), "{seen:?}");
        assert!(!format!("{seen:?}").contains(&token.text));
    }
    appliance.saw("the caller", |event| event["caller"] == "ci" && event["role"] == "write");
    assert!(!appliance.log().contains(&token.text));
}

#[test]
fn a_request_without_a_valid_token_gets_an_error_that_mlflow_shows() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (token, other) = (tokens.add("ci", "read", &[]), TokenFile::new().add("ci", "admin", &[]));
    let expired = tokens.add("old", "admin", &["--expires", "1s"]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    let mut slip = token.text.clone().into_bytes();
    slip[30] = if slip[30] == b'x' { b'y' } else { b'x' };
    let slip = String::from_utf8(slip).unwrap();
    eventually("a token expires", || with(&appliance, &expired.bearer()).status == 401);
    let before = upstream.requests().len();
    let mut refused = 0;
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.text.clone(),
        other.bearer(),
        format!("Bearer {slip}"),
        format!("{}x", token.bearer()),
        format!("Bearer {}", token.id),
        basic(&token.text, "x"),
        "Basic ?".to_owned(),
        "Negotiate abc".to_owned(),
        format!("AWS4-HMAC-SHA256 Credential={}", token.text),
    ] {
        let answer = with(&appliance, &authorization);
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(answer.json()["error_code"], "UNAUTHENTICATED");
        assert_eq!(answer.header("x-appliance-error"), "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"MLflow\"");
        refused += 1;
    }
    let nothing = appliance.get(SEARCH);
    assert_eq!(nothing.status, 401);
    assert!(nothing.text().contains("MLFLOW_TRACKING_TOKEN"), "{}", nothing.text());
    let both = [("Authorization", token.bearer()), ("Authorization", other.bearer())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(appliance.connect().request("GET", SEARCH, &both, None).status, 401, "two are not chosen from");
    assert_eq!(refused, 12);
    assert_eq!(upstream.requests().len(), before, "nothing of it reached the upstream");
    assert_eq!(appliance.get("/_appliance/healthz").status, 200, "a load balancer needs no token");
}

#[test]
fn tokens_are_added_scoped_and_revoked_without_a_restart() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let first = tokens.add("ci", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--reload-interval", "1h"]).start();
    let mut kept = appliance.connect();
    let bearer = first.bearer();
    assert_eq!(kept.request("GET", SEARCH, &[("Authorization", &bearer)], None).status, 200);

    let second = tokens.add("ada@corp.example", "admin", &["--targets", "default", "--expires", "never"]);
    assert_eq!(with(&appliance, &second.bearer()).status, 401, "it is not known before the file is read again");
    appliance.signal(Signal::HUP);
    eventually("SIGHUP hands out a token", || with(&appliance, &second.bearer()).status == 200);

    tokens.command(&["revoke", "ci"]);
    appliance.signal(Signal::HUP);
    eventually("SIGHUP revokes a token", || with(&appliance, &first.bearer()).status == 401);
    let answer = kept.request("GET", SEARCH, &[("Authorization", &bearer)], None);
    assert_eq!(answer.status, 401, "also on a connection that was open");

    let text = tokens.text();
    std::fs::write(tokens.path(), text.replace("role = \"admin\"", "role = \"king\"")).unwrap();
    appliance.signal(Signal::HUP);
    eventually("a broken file is reported", || appliance.log().contains("cannot reload the tokens"));
    assert!(appliance.log().contains("a role is `read`, `write` or `admin`"), "{}", appliance.log());
    assert_eq!(with(&appliance, &second.bearer()).status, 200, "and the old tokens stay in force");
}

#[test]
fn changed_tokens_are_reloaded_periodically() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let first = tokens.add("ci", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--reload-interval", "100ms"]).start();
    assert_eq!(with(&appliance, &first.bearer()).status, 200);
    tokens.command(&["revoke", &first.id]);
    eventually("the token is revoked", || with(&appliance, &first.bearer()).status == 401);
}

#[test]
fn a_token_for_one_target_is_rejected_by_another() {
    let (one, two) = (Upstream::ok(), Upstream::ok());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let arn = crate::support::appliance::TRACKING_ARN;
    let authority = crate::support::authority::authority().file();
    let target = |name: &str, url: &str| {
        format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{url}\"\n")
    };
    let toml = format!(
        "ca-file = \"{}\"\n{}{}",
        authority.display(),
        target("team-a", &one.url()),
        target("team-b", &two.url())
    );
    std::fs::write(&file, toml).unwrap();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "write", &["--targets", "team-b"]);
    let appliance = Builder::from_file(&file).with_tokens(&tokens).start();
    let bearer = token.bearer();
    let ask = |path: &str| appliance.connect().request("GET", path, &[("Authorization", &bearer)], None);
    assert_eq!(ask(&format!("/t/team-b{SEARCH}")).status, 200);
    let other = format!("/t/team-a{SEARCH}");
    for path in
        [&*other, SEARCH, "/t/team-a", "/t/team-a/", "//t/team-a", "/t/unknown", "/t/unknown/", "/t/", "/t/team-B"]
    {
        let answer = ask(path);
        assert_eq!((answer.status, answer.header("x-appliance-error")), (403, "target-not-allowed"), "{path}");
    }
    assert_eq!(ask("/t/team-b").status, 308);
    assert_eq!((one.requests().len(), two.requests().len()), (0, 1));
}

#[test]
fn the_client_address_is_the_last_one_that_no_trusted_proxy_has_added() {
    let upstream = Upstream::ok();
    let options = ["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8", "--allowed-networks", "198.51.100.0/24,127.0.0.1"];
    let appliance = Builder::new(&upstream).with(&options).start();
    let from = |forwarded: &[&str]| {
        let fields: Vec<_> = forwarded.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        appliance.connect().request("GET", SEARCH, &fields, None).status
    };
    assert_eq!(from(&[]), 200, "the proxy itself");
    assert_eq!(from(&["198.51.100.7"]), 200);
    assert_eq!(from(&["203.0.113.1, 198.51.100.7"]), 200);
    assert_eq!(from(&["198.51.100.7, 10.1.2.3"]), 403, "a client in a trusted network cannot name another one");
    assert_eq!(from(&["198.51.100.7", "10.1.2.3"]), 403);
    assert_eq!(from(&["198.51.100.7, 203.0.113.1"]), 403, "the client's own entry does not count");
    assert_eq!(from(&["198.51.100.7", "203.0.113.1"]), 403, "nor in a header of its own");
    assert_eq!(from(&["203.0.113.1"]), 403);
    assert_eq!(from(&["unknown"]), 403);
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);
    appliance.saw("a client", |event| event["client"] == "198.51.100.7" && event["status"] == 200);
    appliance.saw("a rejection", |event| event["client"] == "127.0.0.1" && event["error_code"] == "foreign-network");
    let chain = Builder::new(&upstream).with(&options).with(&["--trusted-hops", "2"]).start();
    for (forwarded, expected) in
        [("198.51.100.7, 10.1.2.3", 200), ("203.0.113.1, 10.1.2.3", 403), ("198.51.100.7, 10.1.2.4, 10.1.2.3", 403)]
    {
        let answer = chain.connect().request("GET", SEARCH, &[("X-Forwarded-For", forwarded)], None);
        assert_eq!(answer.status, expected, "two proxies, one after the other: {forwarded}");
    }
    let untrusting = Builder::new(&upstream).with(&["--allowed-networks", "198.51.100.0/24"]).without_waiting().start();
    let spoofed = untrusting.connect().request("GET", SEARCH, &[("X-Forwarded-For", "198.51.100.7")], None);
    assert_eq!((spoofed.status, spoofed.header("x-appliance-error")), (403, "foreign-network"));
}

#[test]
fn unauthenticated_callers_get_the_configured_role() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "write", &[]);
    let appliance =
        Builder::new(&upstream).with_tokens(&tokens).with(&["--allow-anonymous", "--anonymous-role", "read"]).start();
    let create = "/api/2.0/mlflow/runs/create";
    let post = |headers: &[(&str, &str)]| appliance.connect().request("POST", create, headers, Some(b"{}")).status;
    assert_eq!(appliance.get(SEARCH).status, 200);
    assert_eq!(post(&[]), 403);
    assert_eq!(post(&[("Authorization", &token.bearer())]), 200);
    assert_eq!(with(&appliance, "Bearer nonsense").status, 401, "what is presented has to be right");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_mlflow_client_sends_a_token_and_understands_rejections() {
    let bin = python::environment();
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (write, read) = (tokens.add("ci", "write", &[]), tokens.add("ada", "read", &[]));
    let limits = ["--caller-rate-limit", "4", "--caller-burst-limit", "4"];
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&limits).start();
    let result = python::run(&bin, "mlflow_caller.py", &[&appliance.url(), &write.text, &read.text], b"");
    assert_eq!(result["checks"], 10);
    appliance.saw("that the limit was met", |event| event["error_code"] == "rate-limited");
}
