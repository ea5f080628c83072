//! The audit log: every request, who, what, and whether it was allowed.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::appliance::{Builder, run};
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_request_is_one_line_that_says_who_did_what() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "read", &[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    let appliance = Builder::new(&upstream)
        .with_tokens(&tokens)
        .with(&["--audit-log", file.to_str().unwrap(), "--log-filter", "off,appliance=info"])
        .start();
    let bearer = token.bearer();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>| {
        appliance.connect().request(method, path, headers, body).status
    };
    let known = [("Authorization", bearer.as_str())];
    assert_eq!(ask("GET", "/api/2.0/mlflow/runs/get?run_id=secret-query", &known, None), 200);
    assert_eq!(ask("POST", "/api/2.0/mlflow/runs/create", &known, Some(b"{}")), 403);
    assert_eq!(ask("GET", "/api/2.0/mlflow/runs/get", &[("Authorization", "Bearer nonsense")], None), 401);
    assert_eq!(ask("GET", "/a/../b", &[], None), 400);
    assert_eq!(ask("GET", "/_appliance/healthz", &[], None), 200);
    let read = || events(&fs::read_to_string(&file).unwrap());
    eventually("the events are written", || read().len() >= 4);
    let events = read();
    assert_eq!(events.len(), 4, "health checks are no requests: {events:?}");
    let fields = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
        [
            text("caller"),
            text("role"),
            text("means"),
            text("action"),
            text("decision"),
            text("refusal"),
            event["status"].to_string(),
        ]
        .join(" ")
    };
    let said: Vec<_> = events.iter().map(fields).collect();
    assert_eq!(
        said,
        [
            "ci read token runs:get allowed - 200",
            "ci read token runs:create denied role-too-low 403",
            "- - - - denied unauthenticated 401",
            "- - - - - bad-request 400",
        ]
    );
    for event in &events {
        assert!(event["time"].as_str().unwrap().ends_with('Z') && event["request_id"].as_str().unwrap().len() == 24);
        assert!(event["client"] == "127.0.0.1" && event["total_ms"].as_f64().unwrap() > 0.0);
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret-query") && !text.contains(&token.text), "{text}");
    assert!(appliance.access_log().is_empty(), "the filter of the other log does not matter");

    let moved = directory.path().join("audit.1.jsonl");
    fs::rename(&file, &moved).unwrap();
    appliance.signal(Signal::HUP);
    eventually("the file is made anew", || file.exists());
    assert_eq!(ask("GET", "/version", &known, None), 200);
    eventually("and written to", || !fs::read_to_string(&file).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 4);
}

#[test]
fn nothing_is_lost_when_it_stops() {
    let upstream = Upstream::ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut appliance = Builder::new(&upstream).with(&["--audit-log", file.path().to_str().unwrap()]).start();
    let mut caller = appliance.connect();
    for _ in 0..500 {
        assert_eq!(caller.get("/version").status, 200);
    }
    drop(caller);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert_eq!(events(&fs::read_to_string(file.path()).unwrap()).len(), 500);
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_start_and_a_full_disk_does_not_stop_the_work() {
    let arn = crate::support::appliance::TRACKING_ARN;
    let variables = [("SM_MLFLOW_RESOURCE_ARN", arn)];
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--audit-log", "/nonexistent/audit.jsonl"], &variables);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && said.contains("audit") && said.contains("hint:"), "{said}");

    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--audit-log", "/dev/full"]).start();
    assert_eq!(appliance.get("/version").status, 200);
    eventually("the operator is told", || appliance.log().contains("audit events cannot be written"));
    assert_eq!(appliance.get("/version").status, 200);
}
