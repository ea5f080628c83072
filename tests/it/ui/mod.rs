//! A way into AWS's own page: what is asked of AWS, what is printed, and what the browser gets.

mod trouble;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::support::Message as _;
use crate::support::appliance::{ACCESS_KEY_ID, APP_ARN, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command};
use crate::support::authority::{authority, trusting};
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{OK, Recorded, Upstream};

/// A text that no shell may interpret.
const URL: &str = "https://app-x.mlflow.sagemaker.eu-west-1.app.aws/auth?authToken=$(id)&x=`id`;'y'";

/// A SageMaker API that says how an MLflow is, and answers the other question with a status and a body.
fn api(state: &'static str, status: &'static str, body: &str) -> Upstream {
    let body = body.to_owned();
    Upstream::start(move |request, wire| {
        if request.header("x-amz-target").contains("Describe") {
            match state {
                "" => wire.answer("400 Bad Request", json!({"__type": "AccessDeniedException"}).to_string()),
                state => wire.answer("200 OK", state),
            }
        } else {
            wire.answer(status, &body)
        }
    })
}

fn handing_out(url: &str) -> Upstream {
    api("", "200 OK", &json!({"AuthorizedUrl": url}).to_string())
}

/// Runs it with credentials and this API; returns also what was said to people, which never holds a secret.
#[track_caller]
fn ui(api: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, String) {
    let output = command(&["ui"])
        .args(arguments)
        .env("APPLIANCE_CA_FILE", authority().file())
        .env("APPLIANCE_SAGEMAKER_ENDPOINT", api)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_SESSION_TOKEN", SESSION_TOKEN)
        // Everything that could be logged, if anything were.
        .env("APPLIANCE_LOG_FILTER", "trace")
        .env("RUST_LOG", "trace")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    for secret in [SECRET_ACCESS_KEY, SESSION_TOKEN, "authToken"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    (output, said)
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn asked(upstream: &Upstream) -> Vec<Recorded> {
    let requests = upstream.requests();
    requests.into_iter().filter(|request| request.header("x-amz-target").contains("Presigned")).collect()
}

#[test]
fn the_url_is_printed_and_nothing_else() {
    for (arn, region, operation, question) in [
        (TRACKING_ARN, "us-east-1", "CreatePresignedMlflowTrackingServerUrl", json!({"TrackingServerName": "ts1"})),
        (APP_ARN, "eu-west-1", "CreatePresignedMlflowAppUrl", json!({"Arn": APP_ARN})),
    ] {
        let upstream = handing_out(URL);
        let (output, said) = ui(&upstream.url(), &["--resource-arn", arn], &[]);
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arn}");
        assert_eq!(printed(&output), format!("{URL}\n"));
        let [request] = &asked(&upstream)[..] else { panic!("{:?}", upstream.requests()) };
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/"));
        assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(request.header("x-amz-target"), format!("SageMaker.{operation}"));
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), question, "AWS decides what is not said");
        let signature = request.header("authorization");
        assert!(signature.contains(&format!("/{region}/sagemaker/aws4_request")), "{signature}");
        assert!(signature.contains("x-amz-security-token;x-amz-target"), "{signature}");
    }
}

#[test]
fn lifetimes_reach_aws_and_a_script_gets_json() {
    let upstream = handing_out(URL);
    let arguments = ["--resource-arn", APP_ARN, "--expires-in", "30s", "--session", "1800", "--json"];
    let (output, said) = ui(&upstream.url(), &arguments, &[]);
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document, json!({"url": URL, "resource_arn": APP_ARN, "expires_in_s": 30, "session_s": 1800}));
    let question: Value = serde_json::from_slice(&asked(&upstream)[0].body).unwrap();
    assert_eq!(question, json!({"Arn": APP_ARN, "ExpiresInSeconds": 30, "SessionExpirationDurationInSeconds": 1800}));
}

#[test]
fn invalid_lifetimes_are_rejected_before_aws_is_called() {
    let upstream = handing_out(URL);
    for (option, values) in
        [("--expires-in", ["4", "301", "6m", "soon"]), ("--session", ["1799s", "12h 1s", "43201", "-1"])]
    {
        for value in values {
            let (output, said) = ui(&upstream.url(), &["--resource-arn", APP_ARN, &format!("{option}={value}")], &[]);
            assert_eq!((output.status.code(), printed(&output).as_str()), (Some(2), ""), "{option} {value}");
            assert!(said.contains(option), "{said}");
        }
    }
    let (output, said) = ui(&upstream.url(), &["--resource-arn", "arn:aws:s3:::bucket", "--region", "x"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("--resource-arn: `arn:aws:s3:::bucket`") && said.contains("hint: "), "{said}");
    let (output, said) = ui(&upstream.url(), &["--resource-arn", APP_ARN, "--open", "--json"], &[]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_mlflow_can_be_named_by_file_variable_and_flag() {
    let upstream = handing_out(URL);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    // A server's file names what this machine need not have.
    let server = "listen = \"0.0.0.0:5000\"\ntls-certificate = \"/nowhere/a.pem\"\ntokens = \"/nowhere/tokens.toml\"\n";
    let targets = format!(
        "[[target]]\nname = \"team\"\nresource-arn = \"{TRACKING_ARN}\"\n\
         [[target]]\nname = \"ads\"\nresource-arn = \"{APP_ARN}\"\n"
    );
    std::fs::write(&file, format!("{server}{targets}")).unwrap();
    let from_file = |more: &[&str], variables: &[(&str, &str)]| {
        let arguments: Vec<&str> = ["--config", file.to_str().unwrap(), "--json"].iter().chain(more).copied().collect();
        // In a file with several, each has its own endpoint; one for all is the SDK's variable.
        let url = upstream.url();
        let variables: Vec<_> = [("APPLIANCE_SAGEMAKER_ENDPOINT", ""), ("AWS_ENDPOINT_URL_SAGEMAKER", url.as_str())]
            .into_iter()
            .chain(variables.iter().copied())
            .collect();
        ui("", &arguments, &variables)
    };
    let arn = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["resource_arn"].clone();
    let (output, said) = from_file(&[], &[]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(arn(&output), TRACKING_ARN, "the first is the default");
    assert_eq!(arn(&from_file(&["--target", "ads"], &[]).0), APP_ARN);
    let (output, said) = from_file(&["--target", "sda"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("`sda`: no target has this name") && said.contains("choose one of team, ads"), "{said}");

    std::fs::write(&file, format!("resource-arn = \"{TRACKING_ARN}\"\n")).unwrap();
    assert_eq!(arn(&from_file(&[], &[]).0), TRACKING_ARN);
    assert_eq!(
        arn(&from_file(&[], &[("SM_MLFLOW_RESOURCE_ARN", APP_ARN)]).0),
        APP_ARN,
        "a variable wins over the file"
    );
    let both = [("SM_MLFLOW_RESOURCE_ARN", APP_ARN), ("SM_MLFLOW_AWS_REGION", "us-east-1")];
    assert_eq!(arn(&from_file(&["--resource-arn", TRACKING_ARN], &both).0), TRACKING_ARN, "a flag over a variable");
    let (output, said) = from_file(&[], &both);
    assert!(output.status.code() == Some(78) && said.contains("SM_MLFLOW_AWS_REGION: the region is"), "{said}");
}

#[test]
fn help_shows_common_options_and_the_others_work() {
    let (output, _) = ui("", &["--help"], &[]);
    let help = printed(&output);
    for part in ["--expires-in", "--resource-arn", "--role-arn", "--open", "Examples:", "Exit codes: 0 success"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(!help.contains("--body-size-limit"), "{help}");
    let upstream = handing_out(URL);
    let (output, said) = ui(&upstream.url(), &["--resource-arn", APP_ARN, "--workers", "2"], &[]);
    assert_eq!(output.status.code(), Some(0), "the line of `serve` works: {said}");
}

/// A `PATH` with a program that opens pages.
fn opener(directory: &Path, script: &str) -> PathBuf {
    let program = directory.join(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory.to_owned()
}

#[test]
fn the_browser_gets_the_url_unchanged_and_the_terminal_does_not() {
    let upstream = handing_out(URL);
    let open =
        |path: &Path| ui(&upstream.url(), &["--resource-arn", APP_ARN, "--open"], &[("PATH", path.to_str().unwrap())]);
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    let script = format!("echo \"$1\"; echo \"$1\" >&2; printf '%s|' \"$#\" \"$1\" >'{}'", seen.display());
    let (output, said) = open(&opener(directory.path(), &script));
    assert_eq!((output.status.code(), printed(&output).as_str()), (Some(0), ""), "{said}");
    assert_eq!(said, "opened the URL in the browser; it works once\n");
    assert_eq!(std::fs::read_to_string(seen).unwrap(), format!("1|{URL}|"), "no shell has read it");

    let (output, said) = open(&opener(directory.path(), "echo \"no way to open $1\" >&2; exit 3"));
    assert_eq!((output.status.code(), printed(&output).as_str()), (Some(1), ""));
    assert!(said.contains("failed (exit status: 3)") && said.contains("hint: omit `--open`"), "{said}");
    let (output, said) = open(tempfile::tempdir().unwrap().path());
    assert!(output.status.code() == Some(1) && said.contains("cannot start `"), "{said}");
}

#[test]
fn the_url_of_the_sandbox_opens_one_browser_once() {
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    let sandbox = Sandbox::start(Path::new("/usr/bin"), &["--mlflow-url", &behind.url()]);
    let file = sandbox.configuration();
    let run = |arguments: &[&str]| {
        let mut command = command(&["ui", "--config", file.path().to_str().unwrap()]);
        let output = command.args(arguments).envs(sandbox.aws()).output().unwrap();
        (output.status.code(), printed(&output), String::from_utf8(output.stderr).unwrap())
    };
    for mode in ["tracking", "serverless"] {
        let (code, printed, said) = run(&["--target", mode, "--expires-in", "5m", "--session", "12h"]);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{mode}");
        let url = printed.trim_end();
        let path = url.strip_prefix(sandbox.text("sagemaker")).expect(url);
        let open = || {
            let port: u16 = sandbox.text("sagemaker").rsplit(':').next().unwrap().parse().unwrap();
            let tls = trusting(Path::new(sandbox.text("authority")));
            Caller::connect_with_tls(([127, 0, 0, 1], port).into(), tls).get(path)
        };
        let first = open();
        assert_eq!((first.status, first.header("location")), (303, format!("{}/", behind.url()).as_str()), "{mode}");
        assert_eq!(open().status, 403, "{mode}: it has been used");
    }
    // The sandbox's instance may assume the role, and nothing else: this is how AWS refuses.
    let without_role = std::fs::read_to_string(file.path()).unwrap();
    let kept: Vec<&str> = without_role.lines().filter(|line| !line.starts_with("role-arn")).collect();
    std::fs::write(file.path(), kept.join("\n")).unwrap();
    let (code, printed, said) = run(&["--target", "serverless"]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(said.contains("not authorized to perform: sagemaker:CreatePresignedMlflowAppUrl"), "{said}");
    assert!(said.contains("hint: allow `sagemaker:CreatePresignedMlflowAppUrl` on `arn:"), "{said}");
}
