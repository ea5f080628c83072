//! The export of spans: an OpenTelemetry collector gets them all, and a failing one never delays a request.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::tracing::{CALLER, STATE, TRACE, exporting, parent};
use crate::support::appliance::{Appliance, Builder};
use crate::support::collector::Collector;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, python};

#[test]
fn waiting_spans_are_sent_before_the_end() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let mut appliance = exporting(&upstream, &collector).start();
    let mut caller = appliance.connect();
    for _ in 0..700 {
        assert_eq!(caller.get("/version").status, 200);
    }
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert_eq!(collector.spans().len(), 1400);
    let largest = collector.requests().iter().map(|request| request.body.len()).max().unwrap();
    assert!(collector.requests().len() >= 2 && largest < 1 << 20, "in batches: {largest}");
}

#[test]
fn a_client_without_a_token_does_not_decide_what_is_recorded() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let tokens = TokenFile::new();
    let bearer = tokens.add("ada", "read", &[]).bearer();
    let arguments = ["--otlp-sampling-ratio", "0"];
    let mut appliance = exporting(&upstream, &collector).with_tokens(&tokens).with(&arguments).start();
    let parent = parent("01");
    let mut caller = appliance.connect();
    for (authorization, status) in [("Bearer none", 401), (bearer.as_str(), 200), ("Bearer none", 401)] {
        let headers = [("traceparent", parent.as_str()), ("Authorization", authorization)];
        assert_eq!(caller.request("GET", "/version", &headers, None).status, status);
    }
    for target in ["/_appliance/login", "/_appliance/healthz"] {
        assert_eq!(caller.request("GET", target, &[("traceparent", &parent)], None).status, 200, "{target}");
    }
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert_eq!(collector.spans().len(), 2, "the spans of the one caller who is known: {:#?}", collector.spans());
}

#[test]
fn an_unreachable_collector_costs_spans_only() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let (url, port) = (collector.url(), 4);
    drop(collector);
    // No program listens on a reserved port.
    let url = format!("{}:{port}", url.rsplit_once(':').unwrap().0);
    let mut appliance = Builder::new(&upstream).with(&["--otlp-endpoint", &url]).with_admin().start();
    let mut caller = appliance.connect();
    let count = 5000;
    let began = Instant::now();
    for _ in 0..count {
        assert_eq!(caller.get("/version").status, 200);
    }
    eventually("the queue is full", || dropped(&appliance, "queue-full") > 0);
    eventually("the outage is logged", || appliance.log().contains("cannot send spans"));
    eprintln!("{count} requests without a collector: {:?}", began.elapsed());
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let log = appliance.log();
    assert_eq!(log.matches("cannot send spans").count(), 1, "the outage is logged once: {log}");
    assert!(log.contains("start a collector there"), "the log has a hint: {log}");
}

fn dropped(appliance: &Appliance, reason: &str) -> u64 {
    let text = appliance.admin("/metrics").text();
    let line = format!("appliance_spans_dropped_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("{line} in {text}")).parse().unwrap()
}

#[test]
fn a_silent_collector_delays_neither_requests_nor_the_end() {
    let upstream = Upstream::ok();
    let collector = Collector::answering(|_, _| {
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let mut appliance = exporting(&upstream, &collector).with(&["--drain-timeout", "1s"]).start();
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(appliance.get("/version").status, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    eventually("the collector is asked", || !collector.requests().is_empty());
    let began = Instant::now();
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(began.elapsed() < Duration::from_secs(4), "the end does not wait: {:?}", began.elapsed());
    assert!(appliance.log().contains("the last spans could not be sent before the shutdown"), "{}", appliance.log());
}

#[test]
fn rejected_spans_are_counted_and_postponed_ones_are_retried() {
    let upstream = Upstream::ok();
    let answers = Arc::new(Mutex::new(vec![
        ("400 Bad Request", "{}"),
        ("200 OK", "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"no\"}}"),
        ("200 OK", "{}"),
        ("503 Service Unavailable", ""),
    ]));
    let script = Arc::clone(&answers);
    let collector = Collector::answering(move |_, wire| {
        let (status, body) = script.lock().unwrap().pop().unwrap_or(("200 OK", "{}"));
        wire.answer(status, body)
    });
    let appliance = exporting(&upstream, &collector).with_admin().start();
    let exported = |appliance: &Appliance| appliance.metrics().sum("appliance_spans_exported_total", &[]);
    assert_eq!(appliance.get("/version").status, 200);
    eventually("the batch is retried", || exported(&appliance) > 1.5);
    let requests = collector.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body, "the same batch");
    eventually("the recovery is logged", || appliance.log().contains("the collector accepts spans again"));
    assert_eq!(appliance.get("/version").status, 200);
    eventually("one of two spans is rejected", || dropped(&appliance, "rejected") == 1);
    assert!(exported(&appliance) > 2.5);
    assert_eq!(appliance.get("/version").status, 200);
    eventually("a whole batch is rejected", || dropped(&appliance, "undelivered") == 2);
    assert_eq!(collector.requests().len(), 4, "a permanent error is not retried");
}

#[test]
fn opentelemetrys_own_variables_are_read() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let appliance = Builder::new(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_SERVICE_NAME", "gate")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.name=other")
        .start();
    assert_eq!(appliance.get("/version").status, 200);
    for span in collector.wait_for(2) {
        assert_eq!(span.of_resource("service.name"), Some("gate"));
        assert_eq!(span.of_resource("deployment.environment.name"), Some("prod"));
    }
    drop(appliance);
    // The appliance's own options win, and can disable tracing.
    let appliance = Builder::new(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with(&["--otlp-endpoint", "off"])
        .start();
    assert_eq!(appliance.get("/version").status, 200);
    assert!(!upstream.requests().last().unwrap().has("traceparent"));
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_official_schema_reads_the_exported_spans() {
    let bin = python::environment();
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let mut appliance = exporting(&upstream, &collector).start();
    let sampled = parent("01");
    let fields = [("traceparent", sampled.as_str()), ("tracestate", STATE)];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    assert_eq!(appliance.get("/api/2.0/mlflow/runs/get?run_id=%C3%A4").status, 200);
    assert_eq!(appliance.get("/t/nobody").status, 404);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let bodies: Vec<serde_json::Value> =
        collector.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let read = python::run(&bin, "otlp.py", &[], &serde_json::to_vec(&bodies).unwrap());
    let spans = read["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 5, "{read:#}");
    let of_caller: Vec<_> = spans.iter().filter(|span| span["trace_id"] == TRACE).collect();
    assert_eq!(of_caller.len(), 2);
    let server = of_caller.iter().find(|span| span["kind"] == "SPAN_KIND_SERVER").unwrap();
    let client = of_caller.iter().find(|span| span["kind"] == "SPAN_KIND_CLIENT").unwrap();
    assert_eq!((&server["parent_span_id"], &server["trace_state"]), (&CALLER.into(), &STATE.into()));
    assert_eq!(client["parent_span_id"], server["span_id"]);
    assert_eq!(server["attributes"]["http.response.status_code"], 200);
    assert_eq!(server["attributes"]["url.path"], "/version");
    assert_eq!(read["resource"]["service.name"], "mlflow-appliance");
    assert!(spans.iter().all(|span| span["seconds"].as_f64().is_some_and(|time| (0.0..10.0).contains(&time))));
}
