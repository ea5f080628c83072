//! Real peers: tokens that botocore signs, moto's STS, the sandbox's STS that verifies signatures, and MLflow's own client.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{AUDIENCE, ROLE, builder, content, of_content};
use crate::documents::blocks;
use crate::support::appliance::{Appliance, full_binary, run};
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::Upstream;
use crate::support::{eventually, python, quiet_port};

/// A token for the identity of the sandbox's instance.
#[track_caller]
fn token(sandbox: &Sandbox, audience: &str, region: &str) -> String {
    let output = run(&["token", "aws", "--audience", audience, "--region", region], &sandbox.aws());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// An appliance before the sandbox that accepts the instance's identity for [`AUDIENCE`].
fn appliance(sandbox: &Sandbox) -> (Appliance, tempfile::NamedTempFile) {
    let file = sandbox.configuration();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let callers = ROLE.replace("ml-*", "sandbox-instance");
    std::fs::write(file.path(), format!("aws-audience = \"{AUDIENCE}\"\n{text}{callers}")).unwrap();
    let appliance = sandbox.serve(file.path()).start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    (appliance, file)
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_sandbox_accepts_an_aws_identity_without_aws() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "tracking"]);
    let address = sandbox.url("tracking").trim_start_matches("http://").parse().unwrap();
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        Caller::connect(address).request("GET", "/version", &[("Authorization", &bearer)], None)
    };
    let good = token(&sandbox, "sandbox", "us-east-1");
    assert_eq!(ask(&good).status, 200, "{}", ask(&good).text());
    assert_eq!(ask(&token(&sandbox, "another", "us-east-1")).status, 401);
    assert_eq!(ask(&token(&sandbox, "sandbox", "eu-west-1")).status, 401);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn an_sts_that_verifies_signatures_rejects_what_was_signed_for_something_else() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "both"]);
    let (appliance, _file) = appliance(&sandbox);
    let good = content(&token(&sandbox, AUDIENCE, "us-east-1"));
    let ask = |content: &Value| {
        let bearer = format!("Bearer {}", of_content(content));
        appliance.connect().request("GET", "/version", &[("Authorization", &bearer)], None).status
    };
    assert_eq!(ask(&good), 200);
    let other = content(&token(&sandbox, "https://other.example", "us-east-1"));
    let url = good["url"].as_str().unwrap();
    let changed = |from: &str, to: &str| {
        let changed = url.replacen(from, to, 1);
        assert_ne!(changed, url, "{from}");
        json!({"audience": AUDIENCE, "url": changed})
    };
    let signature = url.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap();
    let date = url.split("X-Amz-Date=").nth(1).unwrap().split('&').next().unwrap();
    let other_second = format!("{}{}Z", &date[..14], i32::from(date.ends_with("0Z")));
    let forged: Vec<(&str, Value, &str)> = vec![
        ("a token for another audience", json!({"audience": AUDIENCE, "url": other["url"]}), "SignatureDoesNotMatch"),
        ("another signature", changed(signature, &"0".repeat(64)), "SignatureDoesNotMatch"),
        ("another second", changed(date, &other_second), "SignatureDoesNotMatch"),
        ("a shorter validity", changed("X-Amz-Expires=", "X-Amz-Expires=1"), "`X-Amz-Expires`"),
        ("another key", changed("Credential=ASIA", "Credential=ASIB"), "InvalidClientTokenId"),
        ("another session", changed("Security-Token=", "Security-Token=A"), "InvalidClientTokenId"),
    ];
    for (what, forged, reason) in forged {
        let seen = appliance.access_log().len();
        assert_eq!(ask(&forged), 401, "{what}");
        eventually(what, || appliance.access_log().len() > seen);
        let cause = appliance.access_log().pop().unwrap()["cause"].as_str().unwrap().to_owned();
        assert!(cause.contains(reason), "{what}: {cause}");
    }
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_python_program_of_the_page_logs_a_run_with_a_token_that_botocore_signs() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "both"]);
    let (appliance, _file) = appliance(&sandbox);
    let program = blocks("docs/access/aws-identities.md", "python").concat();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.py");
    std::fs::write(&file, program).unwrap();
    let output = Command::new(bin.join("python"))
        .arg(&file)
        .current_dir(directory.path())
        .env_clear()
        .env("HOME", directory.path())
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("MLFLOW_TRACKING_URI", format!("{}/t/tracking", appliance.url()))
        .env("AWS_REGION", "us-east-1")
        .envs(sandbox.aws())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    appliance.saw("the caller", |event| {
        event["caller"] == "sandbox-instance@i-00000000000000000"
            && event["means"] == "aws"
            && event["action"] == "runs:log-metric"
            && event["status"] == 200
    });
    assert!(!appliance.log().contains("X-Amz-Security-Token"), "{}", appliance.log());
    assert_eq!(appliance.log().matches("AWS confirmed an identity").count(), 1);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn motos_sts_confirms_roles_and_confirmed_callers_survive_its_outage() {
    let bin = python::environment();
    let (upstream, port) = (Upstream::ok(), quiet_port());
    let unused = Upstream::ok();
    let (builder, _directory) = builder(&upstream, &unused, "", ROLE);
    let appliance = builder.env("AWS_ENDPOINT_URL_STS", &format!("http://127.0.0.1:{port}")).start();
    let binary = full_binary();
    let arguments = [&port.to_string(), &appliance.url(), AUDIENCE, path(&binary)];
    let result = python::run(&bin, "moto_sts.py", &arguments, b"");
    assert_eq!(result["checks"], 6);
    appliance.saw("the name", |event| event["caller"] == "ml-train@run-7");
    assert!(unused.requests().is_empty());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
