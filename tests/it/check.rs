//! `appliance check` reports each problem with a hint.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::appliance::{ACCESS_KEY_ID, APP_ARN, SECRET_ACCESS_KEY, TRACKING_ARN, command};
use crate::support::authority::authority;
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::log_service::{GROUP, LogService, Mood};
use crate::support::upstream::Upstream;

fn check(arguments: &[&str]) -> (Output, String) {
    let output = checking(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

/// `check` with credentials.
fn checking(arguments: &[&str]) -> Command {
    let mut command = command(&["check"]);
    command
        .args(arguments)
        .env("APPLIANCE_CA_FILE", authority().file())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        // STS cannot be reached, which is no failure.
        .env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    command
}

/// An upstream that sends the same response to every request, with a `Date` that is off by so many seconds.
fn answering(status: &'static str, off: i64, body: &'static str) -> Upstream {
    Upstream::start(move |_, wire| {
        let now = std::time::SystemTime::now();
        let skew = Duration::from_secs(off.unsigned_abs());
        let date = httpdate::fmt_http_date(if off < 0 { now - skew } else { now + skew });
        let length = body.len();
        wire.send(format!("HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {length}\r\n\r\n{body}"))
    })
}

fn findings(said: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    document["findings"].as_array().unwrap().clone()
}

#[test]
fn a_working_configuration_passes_every_check() {
    let upstream = answering("200 OK", 0, "{\"experiments\": []}");
    let (output, said) =
        check(&["--resource-arn", TRACKING_ARN, "--upstream-endpoint", &upstream.url(), "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "configuration",
        "this machine (127.0.0.1",
        "clock agrees",
        "they do not expire",
        "can be read",
        "0 failed, 0 warnings",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(SECRET_ACCESS_KEY));
}

#[test]
fn a_denial_names_the_action_of_the_mode() {
    let upstream = answering("403 Forbidden", 0, "{\"message\": \"Request is not authorized\"}");
    for (arn, action) in [(TRACKING_ARN, "sagemaker-mlflow:SearchExperiments"), (APP_ARN, "sagemaker:CallMlflowAppApi")]
    {
        let (output, said) = check(&["--json", "--resource-arn", arn, "--upstream-endpoint", &upstream.url()]);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let failed: Vec<_> = findings(&said).into_iter().filter(|one| one["outcome"] == "failure").collect();
        assert_eq!((failed.len(), failed[0]["check"].as_str()), (1, Some("target")), "{said}");
        assert!(failed[0]["text"].as_str().unwrap().contains("403 Request is not authorized"), "{said}");
        assert!(failed[0]["hint"].as_str().unwrap().contains(&format!("allow `{action}`")), "{said}");
    }
}

#[test]
fn clock_skew_is_detected() {
    for (off, outcome) in [(-1200, "failure"), (1200, "failure"), (60, "warning"), (0, "ok")] {
        let upstream = answering("200 OK", off, "{}");
        let (_, said) = check(&["--json", "--resource-arn", TRACKING_ARN, "--upstream-endpoint", &upstream.url()]);
        let clock = findings(&said).into_iter().find(|one| one["check"] == "clock").unwrap();
        assert_eq!(clock["outcome"], outcome, "{off}: {said}");
    }
}

#[test]
fn unreachable_endpoints_are_distinguished() {
    for (arguments, expected) in [
        (vec!["--upstream-endpoint", "https://nobody.invalid"], "that name has no address"),
        (vec!["--upstream-endpoint", "https://127.0.0.1:9"], "cannot connect to"),
    ] {
        let arguments: Vec<&str> = ["--resource-arn", TRACKING_ARN].into_iter().chain(arguments).collect();
        let (output, said) = check(&arguments);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.contains("hint: "), "{said}");
    }
    let upstream = answering("200 OK", 0, "{}");
    let arguments = ["check", "--resource-arn", TRACKING_ARN, "--upstream-endpoint", &upstream.url()];
    let output = command(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("TLS handshake") && said.contains("set `ca-file`"), "{said}");
}

#[test]
fn a_role_that_cannot_be_assumed_is_reported_as_such() {
    let upstream = answering("200 OK", 0, "{}");
    let role = "arn:aws:iam::123456789012:role/mlflow";
    let (output, said) =
        check(&["--json", "--resource-arn", TRACKING_ARN, "--upstream-endpoint", &upstream.url(), "--role-arn", role]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let outcome =
        |check: &str| findings(&said).into_iter().find(|one| one["check"] == check).map(|one| one["outcome"].clone());
    assert_eq!((outcome("role"), outcome("target")), (Some("failure".into()), Some("skipped".into())), "{said}");
}

#[test]
fn an_offline_check_reads_only_the_configuration_and_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appliance.toml");
    std::fs::write(&path, format!("resource-arn = \"{TRACKING_ARN}\"\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let path = path.to_str().unwrap();
    let (output, said) = check(&["--offline", "--config", path]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("skipped  network"), "{said}");
    std::fs::write(path, "resource-arn = \"x\"\nlisten = \"0.0.0.0:0\"\nnonsense = 1\n").unwrap();
    let (output, said) = check(&["--offline", "--config", path]);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(":1: resource-arn: `x`") && said.contains(":3: `nonsense` is not an option"), "{said}");
}

#[test]
fn a_check_for_another_machine_reads_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appliance.toml");
    let files = "tls-certificate = \"/nowhere/a.pem\"\ntls-key = \"credential:key\"\nca-file = \"/nowhere/b.pem\"\n\
                 tokens = \"/nowhere/tokens.toml\"\nsession-key = \"/nowhere/key\"\nspool-directory = \"/nowhere\"\n";
    std::fs::write(&path, format!("resource-arn = \"{TRACKING_ARN}\"\n{files}")).unwrap();
    let path = path.to_str().unwrap();
    let (output, said) = check(&["--offline", "--config", path]);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let (output, said) = check(&["--elsewhere", "--config", path]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (output, said) = check(&["--elsewhere", "--workers", "many", "--config", path]);
    assert!(output.status.code() == Some(78) && said.contains("`many`") && !said.contains("nowhere"), "{said}");
}

#[test]
fn an_appliance_that_accepts_all_callers_or_none_gets_a_warning() {
    let common = ["--offline", "--resource-arn", TRACKING_ARN, "--listen", "0.0.0.0:0"];
    let with = |more: &[&str]| check(&common.iter().chain(more).copied().collect::<Vec<_>>()).1;
    let said = with(&["--allow-anonymous"]);
    assert!(said.contains("warning  callers        every client that can connect, as write"), "{said}");
    let said = with(&["--allow-anonymous", "--anonymous-role", "admin"]);
    assert!(said.contains("warning  callers        every client that can connect, as admin"), "{said}");
    let said = check(&["--offline", "--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0"]).1;
    assert!(said.contains("ok       callers        every client on this machine, as admin"), "{said}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let said = with(&["--tokens", empty.path().to_str().unwrap()]);
    assert!(said.contains("warning  callers        nobody, because there is no valid token"), "{said}");
}

#[test]
fn the_source_of_personal_tokens_is_tested_without_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let (tokens, personal) = (directory.path().join("tokens.toml"), directory.path().join("personal.toml"));
    std::fs::write(&tokens, "").unwrap();
    let with = |source: &str, more: &[&str]| {
        let arguments = ["--offline", "--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0", "--json", "--tokens"];
        let arguments = [&arguments[..], &[tokens.to_str().unwrap(), "--personal-tokens", source], more].concat();
        let (output, said) = check(&arguments);
        let finding = findings(&said).into_iter().find(|one| one["check"] == "personal").unwrap();
        (output.status.code(), finding)
    };
    let path = personal.to_str().unwrap();
    let (code, finding) = with(path, &[]);
    assert_eq!((code, &finding["outcome"], &finding["subject"]), (Some(0), &"ok".into(), &path.into()), "{finding}");
    let names = || std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names(), 1, "the check leaves nothing behind");
    let (code, finding) = with(path, &["--read-only"]);
    assert_eq!((code, &finding["outcome"]), (Some(0), &"skipped".into()), "{finding}");

    // A missing directory rejects root as well.
    let (code, finding) = with(directory.path().join("none/personal.toml").to_str().unwrap(), &[]);
    assert_eq!((code, &finding["outcome"]), (Some(1), &"failure".into()), "{finding}");
    assert!(finding["text"].as_str().unwrap().contains("No such file or directory"), "{finding}");
    assert!(finding["hint"].as_str().unwrap().contains("let the user of the appliance write to it"), "{finding}");

    for (source, actions) in [
        ("secretsmanager:mlflow-personal", ["`secretsmanager:PutSecretValue`", "`secretsmanager:CreateSecret`"]),
        ("ssm:/mlflow/personal", ["`ssm:PutParameter`", "`ssm:GetParameterHistory`"]),
    ] {
        let (code, finding) = with(source, &[]);
        assert_eq!((code, &finding["outcome"]), (Some(0), &"skipped".into()), "{finding}");
        for action in actions {
            assert!(finding["hint"].as_str().unwrap().contains(action), "{action}: {finding}");
        }
    }
}

#[test]
fn the_endpoints_of_an_identity_provider_have_to_answer() {
    let upstream = answering("200 OK", 0, "{}");
    let issuer = TestIssuer::new(&[SigningKey::p256().jwk("k")]);
    let url = issuer.url();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, base) = (Arc::clone(&asked), url.clone());
    // The sign-out is at an address where nothing listens.
    issuer.intercept(move |request, wire| match request.target.as_str() {
        "/.well-known/openid-configuration" => Some(
            wire.answer(
                "200 OK",
                json!({
                    "issuer": base,
                    "jwks_uri": format!("{base}/keys"),
                    "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"),
                    "end_session_endpoint": "http://127.0.0.1:9/end",
                })
                .to_string(),
            ),
        ),
        "/authorize" | "/token" => {
            let has_credentials = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            seen.lock().unwrap().push((request.method.clone(), request.target.clone(), has_credentials));
            Some(wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
        }
        _ => None,
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appliance.toml");
    let write = |more: &str| {
        let issuer = format!("[[issuer]]\nname = \"idp\"\nurl = \"{url}\"\naudience = \"mlflow\"\n{more}");
        let caller = "[[caller]]\nissuer = \"idp\"\nclaim = \"*\"\nrole = \"read\"\n";
        let common = format!("resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\n", upstream.url());
        std::fs::write(&path, format!("{common}listen = \"127.0.0.1:0\"\n{issuer}{caller}")).unwrap();
    };
    let endpoints = || {
        let (output, said) = check(&["--json", "--config", path.to_str().unwrap()]);
        let findings = findings(&said).into_iter().filter(|one| one["check"] == "endpoint");
        let findings: Vec<_> =
            findings.map(|one| (one["outcome"].clone(), one["text"].as_str().unwrap().to_owned())).collect();
        (output.status.code(), findings)
    };
    write("client-id = \"mlflow\"\n");
    let (code, found) = endpoints();
    let expected = ["ok", "ok", "failure"];
    assert_eq!(found.iter().map(|(outcome, _)| outcome.as_str().unwrap()).collect::<Vec<_>>(), expected, "{found:?}");
    assert_eq!(code, Some(1));
    assert_eq!(found[0].1, format!("authorization_endpoint: {url}/authorize answers (400)"));
    assert!(found[2].1.starts_with("end_session_endpoint: ") && found[2].1.contains("127.0.0.1:9"), "{found:?}");
    let request = |target: &str| ("HEAD".to_owned(), target.to_owned(), false);
    assert_eq!(*asked.lock().unwrap(), [request("/authorize"), request("/token")]);

    // An issuer without `client-id` signs no person in.
    write("");
    assert_eq!(endpoints(), (Some(0), Vec::new()));
}

#[test]
fn the_log_group_is_tried_and_what_is_missing_is_named() {
    let upstream = answering("200 OK", 0, "{}");
    let url = upstream.url();
    let probe = |service: &LogService, more: &[&str]| {
        let group = ["--cloudwatch-log-group", GROUP, "--cloudwatch-log-machine", "i-1"];
        let target = ["--resource-arn", TRACKING_ARN, "--upstream-endpoint", &url, "--listen", "127.0.0.1:0"];
        let arguments = [&["--json"], &group[..], &target, more].concat();
        let output = checking(&arguments).env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", service.url()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = findings(&said).into_iter().find(|one| one["check"] == "logs");
        (output.status.code(), found)
    };
    let service = LogService::start();
    let (_, offline) = probe(&service, &["--offline"]);
    assert_eq!((offline, service.requests().len()), (None, 0));
    // Without leave to write, nothing is made, and the permission is known nevertheless.
    let (code, found) = probe(&service, &["--read-only"]);
    assert_eq!((code, &found.as_ref().unwrap()["outcome"]), (Some(0), &"ok".into()), "{found:?}");
    assert_eq!(service.streams(), Vec::<String>::new());
    for _ in 0..2 {
        let (code, found) = probe(&service, &[]);
        assert_eq!((code, &found.as_ref().unwrap()["outcome"]), (Some(0), &"ok".into()), "{found:?}");
    }
    assert_eq!((service.streams(), service.messages("check/").len()), (vec!["check/i-1".to_owned()], 2));
    for more in [&[][..], &["--read-only"]] {
        for (mood, hint) in
            [(Mood::WithoutGroup, "create the log group"), (Mood::Denying, "allow `logs:CreateLogStream`")]
        {
            service.becomes(mood);
            let (code, found) = probe(&service, more);
            let found = found.unwrap();
            assert_eq!((code, &found["outcome"]), (Some(1), &"failure".into()), "{found}");
            assert!(found["hint"].as_str().unwrap().contains(hint), "{found}");
        }
    }
}
