//! The export to CloudWatch Logs: what is logged outlasts the machine, and an outage never delays a request.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::appliance::{Appliance, Builder, command};
use crate::support::log_service::{GROUP, LogService, Mood};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, python, quiet_port};

const VARIABLE: &str = "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS";

fn exporting(upstream: &Upstream, service: &LogService) -> Builder {
    Builder::new(upstream)
        .with(&["--cloudwatch-log-group", GROUP, "--cloudwatch-log-machine", "i-0123"])
        .with_admin()
        .env(VARIABLE, &service.url())
}

fn events(messages: &[String]) -> Vec<Value> {
    messages.iter().map(|message| serde_json::from_str(message).expect("a line of JSON")).collect()
}

fn exported(appliance: &Appliance, content: &str) -> u64 {
    appliance.metrics().count("appliance_log_events_exported_total", &[("content", content)])
}

fn lost(appliance: &Appliance, content: &str, reason: &str) -> u64 {
    let labels = [("content", content), ("reason", reason)];
    appliance.metrics().count("appliance_log_events_dropped_total", &labels)
}

/// Sends so many requests over one connection. Each has to be answered in time.
fn ask(appliance: &Appliance, count: usize) {
    let mut caller = appliance.connect();
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(caller.get("/version").status, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "no request waits: {:?}", began.elapsed());
    }
}

#[test]
fn the_log_and_the_audit_log_have_a_stream_each() {
    let (upstream, service, tokens) = (Upstream::ok(), LogService::start(), TokenFile::new());
    let token = tokens.add("ci", "read", &[]);
    let mut appliance = exporting(&upstream, &service).with_tokens(&tokens).start();
    let bearer = token.bearer();
    let path = "/api/2.0/mlflow/runs/get?run_id=secret-query";
    assert_eq!(appliance.connect().request("GET", path, &[("Authorization", &bearer)], None).status, 200);
    service.wait_for("log/", "runs:get");
    service.wait_for("audit/", "runs:get");
    let streams = service.streams();
    assert_eq!(streams.len(), 2, "{streams:?}");
    for (stream, content) in streams.iter().zip(["audit", "log"]) {
        let beginning = format!("{content}/i-0123/20");
        assert!(stream.starts_with(&beginning) && stream.contains('T') && !stream.contains(':'), "{stream}");
    }
    let audited = events(&service.messages("audit/"));
    let event = audited.iter().find(|event| event["action"] == "runs:get").unwrap();
    assert_eq!((&event["caller"], &event["decision"]), (&"ci".into(), &"allowed".into()));
    assert!(audited.iter().all(|event| event["path"] != "/_appliance/healthz"));
    eventually("the metrics count them", || exported(&appliance, "audit") >= 1 && exported(&appliance, "log") >= 1);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    // The last line is sent as well, and the copy is what standard error has.
    let log: Vec<String> = appliance.log().lines().map(ToOwned::to_owned).collect();
    assert_eq!(service.messages("log/"), log);
    assert!(log.last().unwrap().contains("stopped"), "{log:?}");
    let everything = [service.messages("log/"), service.messages("audit/")].concat().join("\n");
    assert!(!everything.contains("secret-query") && !everything.contains(&token.text), "{everything}");
}

#[test]
fn nothing_that_was_queued_is_lost_when_the_appliance_stops_under_load() {
    let (upstream, service) = (Upstream::ok(), LogService::start());
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut appliance = exporting(&upstream, &service).with(&["--audit-log", file.path().to_str().unwrap()]).start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask(&appliance, 1500));
        }
    });
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let written = std::fs::read_to_string(file.path()).unwrap();
    let mut written: Vec<String> = written.lines().map(ToOwned::to_owned).collect();
    let mut sent = service.messages("audit/");
    written.sort_unstable();
    sent.sort_unstable();
    assert!(sent.len() >= 6000, "{}", sent.len());
    assert!(sent == written, "the file and CloudWatch Logs have the same events");
    assert!(service.calls("PutLogEvents") < 40, "in batches: {}", service.calls("PutLogEvents"));
}

#[test]
fn an_outage_costs_time_and_no_event() {
    for mood in [Mood::Down, Mood::Throttling, Mood::Expired, Mood::WithoutGroup, Mood::Denying] {
        let (upstream, service) = (Upstream::ok(), LogService::behaving(mood));
        let appliance = exporting(&upstream, &service).with(&["--cloudwatch-log-content", "audit"]).start();
        ask(&appliance, 20);
        eventually("the outage is logged", || appliance.log().contains("cannot send log events"));
        eventually("a second attempt is made", || service.calls("CreateLogStream") >= 2);
        assert_eq!(exported(&appliance, "audit"), 0);
        service.becomes(Mood::Well);
        eventually("the events arrive", || exported(&appliance, "audit") >= 20);
        eventually("the recovery is logged", || appliance.log().contains("CloudWatch Logs takes events again"));
        assert!(service.messages("audit/").len() >= 20);
        let log = appliance.log();
        assert_eq!(log.matches("cannot send log events").count(), 1, "at most once a minute: {log}");
        let hint = match mood {
            Mood::WithoutGroup => "create the log group, or correct its name",
            Mood::Denying => "allow `logs:CreateLogStream` and `logs:PutLogEvents`",
            Mood::Throttling => "quota of PutLogEvents",
            _ => "API reference of CloudWatch Logs",
        };
        assert!(log.contains(hint), "{mood:?}: {log}");
        assert_eq!((lost(&appliance, "audit", "queue-full"), lost(&appliance, "audit", "rejected")), (0, 0));
    }
}

#[test]
fn a_stream_that_an_operator_deletes_is_made_again() {
    let (upstream, service) = (Upstream::ok(), LogService::start());
    let appliance = exporting(&upstream, &service).with(&["--cloudwatch-log-content", "audit"]).start();
    ask(&appliance, 1);
    eventually("an event arrives", || exported(&appliance, "audit") >= 1);
    service.delete_streams();
    let before = exported(&appliance, "audit");
    ask(&appliance, 1);
    eventually("the next one arrives, too", || exported(&appliance, "audit") > before);
    assert_eq!(service.streams().len(), 1);
    assert!(!appliance.log().contains("cannot send log events"), "{}", appliance.log());
}

#[test]
fn events_that_cloudwatch_rejects_are_counted() {
    let (upstream, service) = (Upstream::ok(), LogService::behaving(Mood::TooOld));
    let appliance = exporting(&upstream, &service).with(&["--cloudwatch-log-content", "audit"]).start();
    ask(&appliance, 5);
    eventually("two of a batch are rejected", || lost(&appliance, "audit", "rejected") >= 2);
    eventually("the loss is logged", || appliance.log().contains("log events were lost"));
    service.becomes(Mood::Invalid);
    let before = lost(&appliance, "audit", "rejected");
    ask(&appliance, 3);
    eventually("a batch that is invalid is given up", || lost(&appliance, "audit", "rejected") == before + 3);
    service.becomes(Mood::Well);
    let before = exported(&appliance, "audit");
    ask(&appliance, 1);
    eventually("the next batch is sent", || exported(&appliance, "audit") > before);
}

#[test]
fn a_silent_service_delays_neither_requests_nor_the_end_for_long() {
    let (upstream, service) = (Upstream::ok(), LogService::behaving(Mood::Silent));
    let mut appliance = exporting(&upstream, &service).with(&["--drain-timeout", "1s"]).start();
    ask(&appliance, 50);
    eventually("CloudWatch Logs is asked", || !service.requests().is_empty());
    ask(&appliance, 50);
    let began = Instant::now();
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(began.elapsed() < Duration::from_secs(4), "the end does not wait: {:?}", began.elapsed());
    assert!(appliance.log().contains("the last log events could not be sent"), "{}", appliance.log());
}

#[test]
fn a_flood_of_log_lines_fills_its_own_queue_only_and_memory_is_bounded() {
    let (upstream, service) = (Upstream::ok(), LogService::behaving(Mood::Down));
    let appliance = exporting(&upstream, &service).start();
    ask(&appliance, 200);
    let before = appliance.resident();
    // An audit event has the path once, and so has a log line; the log has more fields and fills first.
    let path = format!("/api/2.0/mlflow/runs/get/{}", "x".repeat(7000));
    let mut caller = appliance.connect();
    for _ in 0..1800 {
        assert_eq!(caller.get(&path).status, 200);
    }
    eventually("the log's queue is full", || lost(&appliance, "log", "queue-full") > 0);
    let grown = appliance.resident().saturating_sub(before);
    assert!(grown < 60 << 20, "two queues of 10 MiB, and a batch of each on its way: {grown}");
    let held = |content| appliance.metrics().count("appliance_log_queue_bytes", &[("content", content)]);
    assert!(held("log") <= 10 << 20 && held("audit") <= 10 << 20, "{} {}", held("log"), held("audit"));
    assert!(held("log") > 9 << 20, "{}", held("log"));
}

#[test]
fn the_figures_of_each_minute_are_lines_in_the_embedded_metric_format() {
    let (upstream, service) = (Upstream::ok(), LogService::start());
    let mut appliance = exporting(&upstream, &service).with(&["--cloudwatch-log-content", "metrics"]).start();
    ask(&appliance, 30);
    // The end of the process ends the minute.
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let lines = events(&service.messages("metrics/"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line["Requests"].as_u64().unwrap() >= 30 && line["MedianDuration"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(
        (&line["FailedRequests"], &line["LogGroup"], &line["machine"]),
        (&0.into(), &GROUP.into(), &"i-0123".into())
    );
    let about = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&about["Namespace"], about["Metrics"].as_array().unwrap().len()), (&"MlflowAppliance".into(), 6));
    assert_eq!(service.streams().len(), 1, "nothing else is sent: {:?}", service.streams());
}

#[test]
fn an_unfit_option_is_a_problem_with_its_fix() {
    for (arguments, expected) in [
        (&["--cloudwatch-log-group", "a b"][..], "1 to 512 letters"),
        (&["--cloudwatch-log-group", "g", "--cloudwatch-log-content", "access"], "`access` is not a content"),
        (&["--cloudwatch-log-content", "audit"], "set `cloudwatch-log-group`"),
        (&["--cloudwatch-log-group", "g", "--cloudwatch-log-machine", "a:b"], "letters, digits"),
    ] {
        let arguments = [&["serve", "--resource-arn", crate::support::appliance::TRACKING_ARN], arguments].concat();
        let output = command(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(expected) && said.contains("hint: "), "{expected}: {said}");
    }
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn boto3_reads_the_events_that_moto_keeps() {
    let bin = python::environment();
    let (upstream, port) = (Upstream::ok(), quiet_port());
    let url = format!("http://127.0.0.1:{port}");
    let appliance = Builder::new(&upstream)
        .with(&["--cloudwatch-log-group", GROUP, "--cloudwatch-log-content", "log,audit,metrics"])
        .env(VARIABLE, &url)
        .start();
    let arguments = [port.to_string(), appliance.url(), GROUP.to_owned(), appliance.id().to_string()];
    let result = python::run(&bin, "moto_logs.py", &arguments.each_ref().map(String::as_str), &[]);
    assert!(result["checks"].as_u64().unwrap() > 8, "{result}");
    drop(appliance);
}
