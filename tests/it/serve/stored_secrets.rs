//! The session key in AWS Secrets Manager, which appliances share without a common file.

use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use super::sessions::{FORM, OWN, ask, cookie, sign_in};
use crate::support::Message as _;
use crate::support::appliance::{ACCESS_KEY_ID, Appliance, Builder, SECRET_ACCESS_KEY, TRACKING_ARN, run};
use crate::support::authority::authority;
use crate::support::secrets::Secrets;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, python, quiet_port};

/// As `GenerateSecretString` of CloudFormation makes it by default.
const KEY: &str = "u=4Q^m(Kf0]x@9Zr'T{h7!bW2s~Lc#Pd";
const SOURCE: &str = "secretsmanager:mlflow/session-key";
const ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";

fn builder(upstream: &Upstream, tokens: &TokenFile, secrets: &str) -> Builder {
    Builder::new(upstream).with_tokens(tokens).with(&["--session-key", SOURCE]).env(ENDPOINT, secrets)
}

fn version(appliance: &Appliance, cookie: &str) -> u16 {
    ask(appliance, "GET", "/version", &[("Cookie", cookie)], None).status
}

#[test]
fn appliances_with_one_session_key_in_aws_share_sessions() {
    let (upstream, tokens, secrets) = (Upstream::ok(), TokenFile::new(), Secrets::start());
    let token = tokens.add("ada", "read", &[]);
    secrets.put(KEY);
    let start = || builder(&upstream, &tokens, &secrets.url()).start();
    let (one, two) = (start(), start());
    let session = cookie(&sign_in(&one, &token.text, "%2F"));
    assert_eq!((version(&one, &session), version(&two, &session)), (200, 200));

    // Another key would end the sessions at one appliance after the other.
    secrets.put(&KEY.to_lowercase());
    one.signal(Signal::HUP);
    eventually("it reloads", || one.log().contains("reloading"));
    assert_eq!(version(&one, &session), 200, "a changed key has an effect after a restart");
    assert_eq!(version(&start(), &session), 401, "with another key the session is forged");
    assert!(![&one, &two].iter().any(|appliance| appliance.log().contains(KEY)));
}

#[test]
fn nothing_is_signed_until_the_session_key_is_known() {
    let (upstream, tokens, secrets) = (Upstream::ok(), TokenFile::new(), Secrets::start());
    let token = tokens.add("ada", "read", &[]);
    secrets.deny(true);
    let appliance = builder(&upstream, &tokens, &secrets.url()).without_waiting().start();
    let is_closed = |why: &str| {
        let form = format!("token={}&next=%2F", token.text);
        let session = [("Cookie", "appliance-session=v1.0123456789abcdef.99999999999.AAAA")];
        for answer in [
            ask(&appliance, "GET", "/version", &session, None),
            ask(&appliance, "GET", "/_appliance/login", &session, None),
            ask(&appliance, "GET", "/_appliance/login", &[], None),
            ask(&appliance, "POST", "/_appliance/login", &[OWN, FORM], Some(&form)),
        ] {
            assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "session-key-unknown"), "{why}");
            answer.header("retry-after").parse::<u32>().expect("seconds");
            assert!(!answer.has("set-cookie"), "{why}");
            let text = answer.text();
            assert!(text.contains("the key of its sessions") && !text.contains("mlflow/session-key"), "{why}: {text}");
        }
        let ready = appliance.get("/_appliance/readyz");
        let reason = ready.json()["reason"].as_str().unwrap().to_owned();
        assert_eq!((ready.status, reason.as_str()), (503, "the session key is not known yet: the log has the reason"));
        let bearer = token.bearer();
        let answer = ask(&appliance, "GET", "/version", &[("Authorization", &bearer)], None);
        assert_eq!(answer.status, 200, "a token needs no session: {why}");
    };
    let says = |text: &str| eventually(text, || appliance.log().contains(text));
    says("answered AccessDeniedException; `secretsmanager:GetSecretValue` on `mlflow/session-key` is needed");
    says("allow the action in the policy of the appliance's role or user");
    is_closed("denied");

    secrets.put(&KEY[1..]);
    secrets.deny(false);
    says("`mlflow/session-key` has only 31 bytes");
    says("store a random text of at least 32 bytes");
    is_closed("too short");

    secrets.put(KEY);
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    let session = cookie(&sign_in(&appliance, &token.text, "%2F"));
    assert_eq!(version(&appliance, &session), 200);
    says("the session key was read");
    assert!(!appliance.log().contains(&KEY[1..]));
}

#[test]
fn without_credentials_the_session_key_waits_for_them() {
    let (upstream, tokens, secrets) = (Upstream::ok(), TokenFile::new(), Secrets::start());
    tokens.add("ada", "read", &[]);
    secrets.put(KEY);
    let appliance = builder(&upstream, &tokens, &secrets.url()).without_credentials().start();
    let answer = || ask(&appliance, "GET", "/_appliance/login", &[], None);
    eventually("the reason is known", || answer().json()["message"].as_str().unwrap().contains("no AWS credentials"));
    assert_eq!((answer().status, answer().header("x-appliance-error")), (503, "session-key-unknown"));
    assert_eq!(secrets.calls("GetSecretValue"), 0);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn a_key_in_either_store_is_shared() {
    let bin = python::environment();
    for (service, source, variable) in
        [("ssm", "ssm:/mlflow/session-key", "AWS_ENDPOINT_URL_SSM"), ("secretsmanager", SOURCE, ENDPOINT)]
    {
        let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
        let (token, port) = (tokens.add("ada", "read", &[]), quiet_port());
        let start = || {
            let builder = Builder::new(&upstream).with_tokens(&tokens).with(&["--session-key", source]);
            builder.env(variable, &format!("http://127.0.0.1:{port}")).without_waiting().start()
        };
        let (one, two) = (start(), start());
        let arguments = [&port.to_string(), &one.url(), &two.url(), service, &token.text];
        let result = python::run(&bin, "moto_session_key.py", &arguments, b"");
        assert_eq!(result["checks"], 8, "{service}");
    }
}

/// Checks a configuration, and returns the findings about secrets.
fn check(upstream: &Upstream, secrets: &Secrets, arguments: &[&str]) -> (Output, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let text = format!(
        "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nlisten = \"127.0.0.1:0\"\n\
         tokens = \"secretsmanager:tokens\"\nsession-key = \"{SOURCE}\"\n[[issuer]]\nname = \"idp\"\n\
         url = \"https://127.0.0.1:9\"\nclient-id = \"mlflow\"\nclient-secret = \"secretsmanager:client\"\n\
         [[caller]]\nissuer = \"idp\"\nclaim = \"sub=ada\"\nrole = \"read\"\n",
        upstream.url()
    );
    std::fs::write(&file, text).unwrap();
    let all = [&["check", "--json", "--config", file.to_str().unwrap()], arguments].concat();
    let output = run(
        &all,
        &[
            ("APPLIANCE_CA_FILE", authority().file().to_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
            (ENDPOINT, &secrets.url()),
        ],
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "secret");
    (output.clone(), findings.cloned().collect())
}

#[test]
fn a_check_reads_the_secrets_and_names_the_missing_permission() {
    let (upstream, secrets) = (Upstream::ok(), Secrets::start());
    secrets.put(&KEY[1..]);
    secrets.deny(true);
    let (output, denied) = check(&upstream, &secrets, &[]);
    assert_eq!(output.status.code(), Some(1));
    let subjects: Vec<_> = denied.iter().map(|finding| finding["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["tokens", "session-key", "client-secret of `idp`"]);
    for finding in &denied {
        let (text, hint) = (finding["text"].as_str().unwrap(), finding["hint"].as_str().unwrap());
        assert_eq!(finding["outcome"], "failure");
        assert!(text.contains("`secretsmanager:GetSecretValue` on `"), "{text}");
        assert!(hint.contains("allow the action in the policy"), "{hint}");
    }

    secrets.deny(false);
    let outcomes = |findings: Vec<Value>| findings.iter().map(|finding| finding["outcome"].clone()).collect::<Vec<_>>();
    let (_, short) = check(&upstream, &secrets, &[]);
    assert!(short[1]["text"].as_str().unwrap().contains("only 31 bytes, and 32 are needed"), "{short:?}");
    assert_eq!(outcomes(short), ["ok", "failure", "ok"]);
    secrets.put(KEY);
    let (output, fine) = check(&upstream, &secrets, &[]);
    assert!(fine[1]["text"].as_str().unwrap().contains("can be read from AWS Secrets Manager"), "{fine:?}");
    assert_eq!(outcomes(fine), ["ok", "ok", "ok"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(KEY));

    let calls = secrets.calls("GetSecretValue");
    let (output, none) = check(&upstream, &secrets, &["--offline"]);
    assert_eq!((output.status.code(), none.len(), secrets.calls("GetSecretValue")), (Some(0), 0, calls));
    let (output, _) = check(&upstream, &secrets, &["--offline", "--session-key", "ssm:not a name"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(78) && said.contains("not the name of a secret"), "{said}");
    assert!(!said.contains("not a name"), "it may be the key itself: {said}");
}
