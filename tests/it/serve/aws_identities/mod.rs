//! Callers that prove an AWS identity: what STS is asked, and what an appliance grants to the identities that STS states.

mod forged;
mod outages;
mod peers;

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::callers::{SEARCH, with};
use crate::support::appliance::{
    ACCESS_KEY_ID, Appliance, Builder, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command, run,
};
use crate::support::authority::authority;
use crate::support::tokens::TokenFile;
use crate::support::upstream::{Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually};

pub(super) const AUDIENCE: &str = "https://mlflow.corp.example";
pub(super) const ROLE: &str = "
[[caller]]
principal = \"arn:aws:iam::123456789012:role/ml-*\"
role = \"write\"
";
pub(super) const JOB: &str = "arn:aws:sts::123456789012:assumed-role/ml-train/i-0abc";

/// STS's response about an identity.
pub(super) fn identity(arn: &str) -> String {
    let account = arn.split(':').nth(4).unwrap();
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{arn}</Arn><UserId>AROAEXAMPLE:x</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
}

/// STS's response to a request that it rejects. Its message repeats the request, as that of AWS does.
pub(super) fn rejection(request: &Recorded, code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>The Canonical String for this request should have been 'GET {}'</Message></Error></ErrorResponse>",
        request.target.replace('&', "&amp;")
    )
}

/// An STS that confirms every request as one of the job.
fn confirming() -> Upstream {
    Upstream::start(|_, wire| wire.answer("200 OK", identity(JOB)))
}

/// An STS with this handler.
pub(super) fn sts(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
    Upstream::start(handler)
}

/// Returns what `appliance token aws` prints for this STS.
#[track_caller]
pub(super) fn token_with(sts: &Upstream, arguments: &[&str]) -> String {
    let all = [&["token", "aws", "--audience", AUDIENCE, "--region", "us-east-1"], arguments].concat();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLEEXAMPLE00"),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
    ];
    let output = run(&all, &variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A token that is valid for 15 minutes.
#[track_caller]
pub(super) fn token(sts: &Upstream) -> String {
    token_with(sts, &[])
}

/// Returns the content of a token.
#[track_caller]
pub(super) fn content(token: &str) -> Value {
    let text = token.strip_prefix("mlfaws.").expect("the prefix");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// A token with this content.
pub(super) fn of_content(content: &Value) -> String {
    format!("mlfaws.{}", BASE64_URL_SAFE_NO_PAD.encode(content.to_string()))
}

/// `serve` with an audience, with callers, and with further keys at the top of the file.
pub(super) fn builder(upstream: &Upstream, sts: &Upstream, keys: &str, callers: &str) -> (Builder, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let toml = format!(
        "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nca-file = \"{}\"\naws-audience = \"{AUDIENCE}\"\n\
         {keys}{callers}",
        upstream.url(),
        authority().file().display(),
    );
    std::fs::write(&file, toml).unwrap();
    (Builder::from_file(&file).env("AWS_ENDPOINT_URL_STS", &sts.url()), directory)
}

pub(super) fn start(upstream: &Upstream, sts: &Upstream, callers: &str) -> (Appliance, tempfile::TempDir) {
    let (builder, directory) = builder(upstream, sts, "", callers);
    (builder.start(), directory)
}

#[test]
fn a_token_is_confirmed_by_sts_once_and_reaches_neither_upstream_nor_log() {
    let (upstream, sts) = (Upstream::ok(), confirming());
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let token = token(&sts);
    for _ in 0..5 {
        assert_eq!(with(&appliance, &format!("Bearer {token}")).status, 200);
    }
    let question = sts.only_request();
    assert_eq!(question.method, "GET");
    assert_eq!(question.header("x-mlflow-appliance-audience"), AUDIENCE);
    assert_eq!(question.header("host"), sts.authority());
    let mut names: Vec<_> = question.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names.retain(|name| !matches!(name.as_str(), "connection" | "date"));
    assert_eq!(names, ["host", "x-mlflow-appliance-audience"], "{question:?}");
    let parameters: Vec<_> = question.target.split(['?', '&', '=']).step_by(2).collect();
    assert_eq!(question.target.matches("Action=GetCallerIdentity").count(), 1, "{parameters:?}");
    assert!(upstream.requests().iter().all(|request| !format!("{request:?}").contains("mlfaws.")));
    appliance.saw("the caller", |event| {
        event["caller"] == "ml-train@i-0abc" && event["role"] == "write" && event["means"] == "aws"
    });
    let log = appliance.log();
    assert!(log.contains(JOB), "{log}");
    for secret in [token.as_str(), "X-Amz-Signature", "X-Amz-Security-Token"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn a_token_contains_no_secret_key_and_says_what_it_is_for() {
    let sts = confirming();
    let token = token_with(&sts, &["--expires", "5m"]);
    let content = content(&token);
    assert_eq!(content["audience"], AUDIENCE);
    let url = content["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/?Action=GetCallerIdentity&Version=2011-06-15&", sts.url())), "{url}");
    assert!(url.contains("X-Amz-Expires=300&") && url.contains("%2Fus-east-1%2Fsts%2Faws4_request&"), "{url}");
    assert!(!url.contains(SECRET_ACCESS_KEY) && !url.contains(ACCESS_KEY_ID));
    assert!(sts.requests().is_empty(), "making a token asks nobody");
    for (arguments, said) in [
        (&["--expires", "16m"][..], "AWS accepts whole seconds up to 15m"),
        (&["--expires", "500ms"], "AWS accepts whole seconds up to 15m"),
        (&["--region", "evil.example/"], "not the name of a region"),
        (&["--audience", "a b"], "an audience has 1 to 255 ASCII characters"),
    ] {
        let base = ["token", "aws"];
        let audience = if arguments.contains(&"--audience") { &[][..] } else { &["--audience", "x"] };
        let output = run(&[&base, audience, arguments].concat(), &[]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let output = run(&["token", "aws", "--audience", "x", "--region", "us-east-1"], &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("no AWS credentials were found"), "{text}");
    let output = run(&["token", "aws", "--audience", "x"], &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains("--region"), "{text}");
}

#[test]
fn the_first_matching_grant_decides_the_rights_of_a_principal() {
    const CALLERS: &str = "
[[caller]]
principal = \"arn:aws:iam::123456789012:role/ml-admin\"
name = \"platform\"
role = \"admin\"
[[caller]]
principal = \"arn:aws:sts::123456789012:assumed-role/ml-train/nightly-*\"
role = \"write\"
[[caller]]
principal = \"arn:aws:iam::*:role/ml-*\"
account = \"123456789012\"
role = \"read\"
[[caller]]
principal = \"arn:aws:iam::123456789012:user/dev/*\"
role = \"read\"
";
    let upstream = Upstream::ok();
    let session = |name: &str| format!("arn:aws:sts::123456789012:assumed-role/{name}");
    for (arn, caller, expected) in [
        (session("ml-admin/ada@corp.example"), "platform", [200, 200, 200]),
        (session("ml-train/nightly-7"), "ml-train@nightly-7", [200, 200, 403]),
        (session("ml-train/i-0abc"), "ml-train@i-0abc", [200, 403, 403]),
        ("arn:aws:iam::123456789012:user/dev/ada".to_owned(), "ada", [200, 403, 403]),
        ("arn:aws:iam::123456789012:user/ops/bob".to_owned(), "", [403; 3]),
        (session("other/ml-admin"), "", [403; 3]),
        ("arn:aws:sts::210987654321:assumed-role/ml-admin/x".to_owned(), "", [403; 3]),
        ("arn:aws-cn:sts::123456789012:assumed-role/ml-admin/x".to_owned(), "", [403; 3]),
        ("arn:aws:iam::123456789012:root".to_owned(), "", [403; 3]),
        ("arn:aws:sts::123456789012:something/new".to_owned(), "", [403; 3]),
    ] {
        let stated = arn.clone();
        let sts = sts(move |_, wire| wire.answer("200 OK", identity(&stated)));
        let (appliance, _directory) = start(&upstream, &sts, CALLERS);
        let bearer = format!("Bearer {}", token(&sts));
        let paths = ["runs/search", "runs/create", "webhooks"].map(|path| format!("/api/2.0/mlflow/{path}"));
        let answers =
            paths.map(|path| appliance.connect().request("POST", &path, &[("Authorization", &bearer)], Some(b"{}")));
        assert_eq!(answers.each_ref().map(|answer| answer.status), expected, "{arn}");
        if caller.is_empty() {
            assert_eq!(answers[0].header("x-appliance-error"), "no-grant");
            assert!(answers[0].text().contains(&arn), "{}", answers[0].text());
            assert_eq!(sts.requests().len(), 1, "the rejection is remembered");
            appliance.saw("the reason", |event| event["cause"].as_str().is_some_and(|cause| cause.contains(&arn)));
        } else {
            appliance.saw("the name", |event| event["caller"] == caller);
        }
    }
}

#[test]
fn a_token_ends_at_its_own_expiry_although_sts_confirmed_it() {
    let (upstream, sts) = (Upstream::ok(), confirming());
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let bearer = format!("Bearer {}", token_with(&sts, &["--expires", "3s"]));
    assert_eq!(with(&appliance, &bearer).status, 200);
    eventually("the token expires", || with(&appliance, &bearer).status == 401);
    assert!(with(&appliance, &bearer).text().contains("has expired"));
    assert_eq!(sts.requests().len(), 1);
}

#[test]
fn aws_identities_and_tokens_are_apart_and_each_is_denied_unless_configured() {
    let (upstream, sts, tokens) = (Upstream::ok(), confirming(), TokenFile::new());
    let ours = tokens.add("ci", "read", &[]);
    let aws = format!("Bearer {}", token(&sts));
    let only_tokens = Builder::new(&upstream).with_tokens(&tokens).start();
    assert_eq!(with(&only_tokens, &aws).status, 401);
    only_tokens.saw("the reason", |event| {
        event["cause"].as_str().is_some_and(|cause| cause.contains("accepts no AWS identities"))
    });
    let (only_aws, _directory) = start(&upstream, &sts, ROLE);
    assert_eq!(only_aws.get(SEARCH).status, 401, "nobody is anonymous any more");
    assert_eq!(with(&only_aws, &ours.bearer()).status, 401);
    assert_eq!(with(&only_aws, &aws).status, 200);
    let (builder, _directory) = builder(&upstream, &sts, "", ROLE);
    let both = builder.with_tokens(&tokens).start();
    assert_eq!((with(&both, &ours.bearer()).status, with(&both, &aws).status), (200, 200));
}

#[test]
fn the_configuration_names_the_audience_and_the_principals() {
    for (toml, said) in [
        (format!("aws-audience = \"{AUDIENCE}\"\n"), "no role is granted to them"),
        (ROLE.to_owned(), "`aws-audience` is not set"),
        (format!("aws-audience = \"a b\"\n{ROLE}"), "an audience has 1 to 255"),
        (format!("aws-audience = \"a\"\naws-regions = \"us-east-1,evil.example\"\n{ROLE}"), "not the name of a region"),
        ("aws-regions = \"us-east-1\"\n".to_owned(), "this has no effect without `aws-audience`"),
        (format!("aws-audience = \"a\"\n{}", ROLE.replace("123456789012", "*")), "it has no account"),
        (format!("aws-audience = \"a\"\n{}", ROLE.replace("ml-*", "path/ml-*")), "does not state the path of a role"),
        (format!("aws-audience = \"a\"\n{ROLE}account = \"210987654321\"\n"), "in another account"),
        (
            format!("aws-audience = \"a\"\n{ROLE}claim = \"*\"\n"),
            "exactly one of `certificate`, `claim` and `principal`",
        ),
        (
            "[[caller]]\ncertificate = \"dns:a\"\naccount = \"123456789012\"\nrole = \"read\"\n".to_owned(),
            "this has no effect without `principal`",
        ),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("resource-arn = \"{TRACKING_ARN}\"\n{toml}")).unwrap();
        let output = command(&["check", "--offline", "--config"]).arg(file.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{toml}{text}");
        assert!(text.contains(said), "{toml}{text}");
    }
}
