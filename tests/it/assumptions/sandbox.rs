//! `appliance assumptions` with a real MLflow, behind endpoints that verify every signature.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::cloud::document;
use super::{evidence, set, with};
use crate::support::appliance::command;
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::{figure, python};

/// The command for a target of the sandbox.
fn assumptions(sandbox: &Sandbox, file: &tempfile::NamedTempFile, arguments: &[&str]) -> std::process::Command {
    let mut command = command(&["assumptions", "--json", "--yes", "--config"]);
    command.arg(file.path()).args(arguments).envs(sandbox.aws()).env("AWS_ENDPOINT_URL_IAM", sandbox.text("sts"));
    command
}

/// The experiments of the sandbox that a run has created, removed or not.
fn experiments(sandbox: &Sandbox, view: &str) -> usize {
    let url = sandbox.ready["mlflow"].as_str().unwrap();
    let address = url.trim_start_matches("http://").parse().unwrap();
    let body =
        json!({"max_results": 100, "view_type": view, "filter": "name LIKE 'appliance-assumptions-%'"}).to_string();
    let mut caller = Caller::connect(address);
    let answer = caller.request(
        "POST",
        "/api/2.0/mlflow/experiments/search",
        &[("Content-Type", "application/json")],
        Some(body.as_bytes()),
    );
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["experiments"].as_array().map_or(0, Vec::len)
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn assumptions_are_tested_in_the_sandbox() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "both", "--credential-lifetime", "1h"]);
    let file = sandbox.configuration();
    let key = "artifact-kms-key = \"arn:aws:kms:us-east-1:123456789012:key/k-1\"\ns3-endpoint";
    let text = std::fs::read_to_string(file.path()).unwrap().replace("s3-endpoint", key);
    std::fs::write(file.path(), text).unwrap();
    for mode in ["tracking", "serverless"] {
        let output = assumptions(&sandbox, &file, &["--target", mode, "--open-page"]).output().unwrap();
        let found = document(&output);
        figure(&format!("assumptions about {mode}: {} hold", with(&found, "holds").len()));
        // The sandbox is strict where the behaviour of AWS is unknown.
        let strict = ["mlflow-chunk-signed-payload", "mlflow-chunk-signed-trailer", "mlflow-unsigned-payload"];
        assert_eq!(with(&found, "does-not-hold"), set(&strict), "{found:#}");
        assert_eq!(with(&found, "not-tested"), set(&[]), "{found:#}");
        assert_eq!(output.status.code(), Some(3), "{found:#}");
        assert!(evidence(&found, "mlflow-http2").contains("chooses HTTP/2"), "{found:#}");
        let answer = |family: &str| {
            let routes = found["routes"].as_array().unwrap();
            routes.iter().find(|one| one["family"] == family).unwrap()["answer"].clone()
        };
        for family in ["experiments", "runs", "traces", "logged-models", "datasets", "webhooks", "server-info"] {
            assert_eq!(answer(family), "answers", "{family}: {found:#}");
        }
        assert_eq!(answer("demo"), "not-tested");
    }
    assert_eq!((experiments(&sandbox, "ACTIVE_ONLY"), experiments(&sandbox, "DELETED_ONLY")), (0, 2));
    sandbox.interrupt();
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn an_interrupted_run_leaves_nothing_in_the_sandbox() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "both", "--credential-lifetime", "1h"]);
    let file = sandbox.configuration();
    let mut child = assumptions(&sandbox, &file, &["--largest-body", "64MiB"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap() == "testing mlflow-body-size"), "the largest test begins");
    assert_eq!(experiments(&sandbox, "ACTIVE_ONLY"), 1);
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let output = child.wait_with_output().unwrap();
    assert!(rest.join().unwrap().iter().any(|line| line.starts_with("interrupted: ")));
    let found = document(&output);
    assert_eq!((output.status.code(), &found["interrupted"]), (Some(1), &true.into()), "{found:#}");
    assert_eq!(found["left"], json!([]), "{found:#}");
    assert_eq!((experiments(&sandbox, "ACTIVE_ONLY"), experiments(&sandbox, "DELETED_ONLY")), (0, 1));
    sandbox.interrupt();
}
