//! The audit log: every request with its caller, its action and the decision.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::appliance::{Appliance, Builder, run};
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_request_is_one_line_with_caller_action_and_decision() {
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
    assert_eq!(events.len(), 4, "health checks are not recorded: {events:?}");
    let fields = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
        [
            text("caller"),
            text("role"),
            text("means"),
            text("action"),
            text("decision"),
            text("error_code"),
            event["status"].to_string(),
        ]
        .join(" ")
    };
    let described: Vec<_> = events.iter().map(fields).collect();
    assert_eq!(
        described,
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
    assert!(appliance.access_log().is_empty(), "the log filter does not apply to the audit log");

    let moved = directory.path().join("audit.1.jsonl");
    fs::rename(&file, &moved).unwrap();
    appliance.signal(Signal::HUP);
    eventually("the file is created again", || file.exists());
    assert_eq!(ask("GET", "/version", &known, None), 200);
    eventually("events are written to it", || !fs::read_to_string(&file).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 4);
}

#[test]
fn no_event_is_lost_when_the_appliance_stops() {
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

/// Sends ten requests a second, until `goes_on`, which gets the number of requests after each, returns false.
fn steadily(appliance: &Appliance, mut goes_on: impl FnMut(usize) -> bool) {
    let mut caller = appliance.connect();
    for sent in 1.. {
        let next = Instant::now() + Duration::from_millis(100);
        assert_eq!(caller.get("/version").status, 200);
        if !goes_on(sent) {
            return;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn events_reach_the_file_in_time_under_steady_traffic() {
    let upstream = Upstream::ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    let appliance = Builder::new(&upstream).with(&["--audit-log", file.path().to_str().unwrap()]).start();
    let mut ends = Vec::new();
    steadily(&appliance, |sent| {
        ends.push(Instant::now());
        // The time first: whatever reading the file takes makes no event late.
        let now = Instant::now();
        let written = fs::read_to_string(file.path()).unwrap().lines().count();
        // The limit is 200 ms; a busy machine gets as much again.
        let older = ends.iter().filter(|end| now - **end > Duration::from_millis(400)).count();
        assert!(written >= older, "{older} of {sent} requests ended more than 400 ms ago, {written} are in the file");
        sent < 30
    });
}

#[test]
fn the_recovery_of_the_audit_log_is_logged_under_steady_traffic() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let (link, file) = (directory.path().join("audit.jsonl"), directory.path().join("real.jsonl"));
    symlink("/dev/full", &link).unwrap();
    let appliance = Builder::new(&upstream).with(&["--audit-log", link.to_str().unwrap()]).start();
    let mut is_repaired = false;
    let mut sent = 0;
    steadily(&appliance, |now_sent| {
        sent = now_sent;
        let log = appliance.log();
        if !is_repaired && log.contains("cannot write audit events") {
            fs::remove_file(&link).unwrap();
            symlink(&file, &link).unwrap();
            appliance.signal(Signal::HUP);
            is_repaired = true;
        }
        assert!(sent < 100, "the recovery was never logged: {log}");
        !log.contains("audit events are written again")
    });
    eventually("all events are in the new file", || events(&fs::read_to_string(&file).unwrap()).len() == sent);
}

#[test]
fn an_unusable_audit_log_prevents_the_start_but_a_full_disk_does_not_stop_requests() {
    let arn = crate::support::appliance::TRACKING_ARN;
    let variables = [("SM_MLFLOW_RESOURCE_ARN", arn)];
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--audit-log", "/nonexistent/audit.jsonl"], &variables);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && message.contains("audit") && message.contains("hint:"), "{message}");

    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--audit-log", "/dev/full"]).start();
    assert_eq!(appliance.get("/version").status, 200);
    eventually("the failure is logged", || appliance.log().contains("cannot write audit events"));
    assert_eq!(appliance.get("/version").status, 200);
}
