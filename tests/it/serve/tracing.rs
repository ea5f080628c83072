//! Traces: what callers say of theirs reaches the upstream, and spans of our own reach a collector, if there is one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::appliance::{Appliance, Builder};
use crate::support::collector::{Collector, Span};
use crate::support::tokens::TokenFile;
use crate::support::upstream::{OK, Recorded, Upstream};
use crate::support::{Message as _, eventually, python};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn exporting(upstream: &Upstream, collector: &Collector) -> Builder {
    Builder::new(upstream).with(&["--otlp-endpoint", &collector.url()])
}

/// The server's span and those of its calls, in the order in which these began.
#[track_caller]
fn taken_apart(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut servers, mut clients): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind() == 2);
    assert_eq!(servers.len(), 1, "{servers:#?}");
    assert!(clients.iter().all(|span| span.kind() == 3), "{clients:#?}");
    clients.sort_by_key(Span::times);
    (servers.remove(0), clients)
}

#[track_caller]
fn parts(request: &Recorded) -> [String; 4] {
    let parts: Vec<_> = request.header("traceparent").split('-').map(ToOwned::to_owned).collect();
    parts.try_into().expect("four parts")
}

#[test]
fn a_callers_trace_reaches_the_upstream_as_it_is() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let (parent, odd) = (parent("01"), "not a traceparent");
    let fields = [
        ("Traceparent", parent.as_str()),
        ("traceparent", odd),
        ("Tracestate", STATE),
        ("tracestate", "more=1"),
        ("Baggage", "userId=alice,serverNode=DF%2028;prop"),
    ];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    let seen = upstream.only_request();
    assert_eq!(seen.all("traceparent"), [parent.as_str(), odd]);
    assert_eq!(seen.all("tracestate"), [STATE, "more=1"]);
    assert_eq!(seen.header("baggage"), "userId=alice,serverNode=DF%2028;prop");
    let authorization = seen.header("authorization").to_ascii_lowercase();
    assert!(!authorization.contains("trace") && !authorization.contains("baggage"), "unsigned: {authorization}");
    // And nothing is made where there was nothing.
    assert_eq!(appliance.get("/version").status, 200);
    assert!(!upstream.requests()[1].has("traceparent"));
    appliance.saw("no id in the log", |event| event["status"] == 200 && event.get("trace_id").is_none());
}

#[test]
fn a_callers_trace_is_continued_by_two_spans() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let tokens = TokenFile::new();
    let token = tokens.add("alice", "write", &[]);
    let appliance = exporting(&upstream, &collector).with_tokens(&tokens).start();
    let (parent, bearer) = (parent("01"), token.bearer());
    let fields = [
        ("traceparent", parent.as_str()),
        ("tracestate", STATE),
        ("baggage", "a=b"),
        ("Authorization", &bearer),
        ("Content-Type", "application/json"),
    ];
    let answer = appliance.connect().request(
        "POST",
        "/api/2.0/mlflow/runs/log-metric?note=hidden",
        &fields,
        Some(b"{\"key\":\"a\"}"),
    );
    assert_eq!(answer.status, 200);
    let seen = upstream.only_request();
    let (server, clients) = taken_apart(collector.wait_for(2));
    let client = &clients[0];

    for span in [&server, client] {
        assert_eq!(span.text("traceId"), TRACE);
        assert_eq!(span.text("traceState"), STATE);
        assert_eq!(span.of_resource("service.name"), Some("mlflow-appliance"));
        assert_eq!(span.of_resource("service.version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(span.attribute("error.type"), None);
        assert!(span.document.get("status").is_none(), "{span:#?}");
        let text = format!("{:#}", span.document);
        for secret in ["hidden", "mlfa_", token.text.as_str(), "SESSIONTOKEN", "AWS4", "\"a\""] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert_eq!(server.text("parentSpanId"), CALLER);
    assert_eq!(client.text("parentSpanId"), server.text("spanId"));
    assert_eq!((server.document["flags"].as_u64(), client.document["flags"].as_u64()), (Some(0x301), Some(0x101)));
    // The upstream is told of the span that is its parent, and of the rest as it was.
    assert_eq!(parts(&seen), ["00", TRACE, client.text("spanId"), "01"].map(ToOwned::to_owned));
    assert_eq!((seen.header("tracestate"), seen.header("baggage")), (STATE, "a=b"));
    assert!(!seen.header("authorization").contains("trace"), "unsigned");

    assert_eq!((server.text("name"), client.text("name")), ("POST runs:log-metric", "POST"));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/api/2.0/mlflow/runs/log-metric"),
        ("url.scheme", "http"),
        ("server.address", "localhost"),
        ("server.port", "5000"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "200"),
        ("http.request.body.size", "11"),
        ("http.response.body.size", "2"),
        ("appliance.request_id", answer.header("x-appliance-request-id")),
        ("appliance.target", "default"),
        ("appliance.route", "runs"),
        ("appliance.action", "runs:log-metric"),
        ("appliance.caller", "alice"),
        ("appliance.role", "write"),
    ] {
        assert_eq!(server.attribute(name), Some(value), "{name}");
    }
    let upstream_port = upstream.address().port().to_string();
    for (name, value) in [
        ("http.request.method", "POST"),
        ("url.full", format!("{}/api/2.0/mlflow/runs/log-metric", upstream.url()).as_str()),
        ("server.address", "localhost"),
        ("server.port", &upstream_port),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(client.attribute(name), Some(value), "{name}");
    }
    let ((began, ended), (asked, answered)) = (server.times(), client.times());
    assert!(began <= asked && asked <= answered && answered <= ended, "{began} {asked} {answered} {ended}");
    assert!(began > 1_700_000_000_000_000_000, "nanoseconds since 1970: {began}");
    appliance.saw("the log names the trace", |event| event["trace_id"] == TRACE);
}

#[test]
fn without_a_valid_trace_a_new_one_begins() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let appliance = exporting(&upstream, &collector).start();
    let zero = format!("00-{}-{CALLER}-01", "0".repeat(32));
    assert_eq!(appliance.connect().request("GET", "/version", &[("tracestate", STATE)], None).status, 200);
    let fields = [("traceparent", zero.as_str()), ("tracestate", STATE)];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    let twice = parent("01");
    let fields = [("traceparent", twice.as_str()), ("traceparent", &twice), ("tracestate", STATE)];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    let spans = collector.wait_for(6);
    let mut traces = std::collections::BTreeSet::new();
    for (number, request) in upstream.requests().iter().enumerate() {
        let [version, trace, span, flags] = parts(request);
        assert_eq!((version.as_str(), flags.as_str()), ("00", "01"));
        assert!(trace != TRACE && trace != "0".repeat(32) && traces.insert(trace.clone()), "{trace}");
        assert!(!request.has("tracestate"), "it belongs to another trace: {number}");
        let of_trace: Vec<_> = spans.iter().filter(|one| one.text("traceId") == trace).cloned().collect();
        let (server, clients) = taken_apart(of_trace);
        assert_eq!((clients.len(), clients[0].text("spanId")), (1, span.as_str()));
        assert!(server.document.get("parentSpanId").is_none() && server.document.get("traceState").is_none());
        assert_eq!(server.document["flags"], 0x101);
    }
}

#[test]
fn who_does_not_record_a_trace_has_decided_for_us_as_well() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let mut appliance = exporting(&upstream, &collector).start();
    let unsampled = parent("00");
    let fields = [("traceparent", unsampled.as_str()), ("tracestate", STATE)];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    assert_eq!(upstream.only_request().header("traceparent"), unsampled);
    assert_eq!(upstream.only_request().header("tracestate"), STATE);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(collector.requests().is_empty(), "not even the probes before: {:?}", collector.requests());
}

#[test]
fn a_share_of_new_traces_is_recorded_and_all_of_the_callers() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let mut appliance = exporting(&upstream, &collector).with(&["--otlp-sampling-ratio", "0.5"]).start();
    let sampled = parent("01");
    let mut caller = appliance.connect();
    for _ in 0..200 {
        assert_eq!(caller.get("/version").status, 200);
    }
    for _ in 0..10 {
        assert_eq!(caller.request("GET", "/version", &[("traceparent", &sampled)], None).status, 200);
    }
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let (callers, ours): (Vec<_>, Vec<_>) = collector.spans().into_iter().partition(|one| one.text("traceId") == TRACE);
    assert_eq!(callers.len(), 20);
    let recorded = ours.iter().filter(|span| span.kind() == 2).count();
    // Ten standard deviations of a fair coin.
    assert!((30..=170).contains(&recorded), "{recorded}");
    let told = upstream.requests().iter().filter(|request| request.has("traceparent")).count();
    assert_eq!(told, recorded + 10, "who is not recorded is no parent");
}

#[test]
fn each_attempt_is_a_span_and_what_failed_says_how() {
    let collector = Collector::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let upstream = Upstream::start(move |request, wire| match request.target.as_str() {
        "/version" => wire.send(OK),
        "/api/2.0/mlflow/runs/get" if count.fetch_add(1, Ordering::SeqCst) == 0 => Err(wire.close()),
        "/api/2.0/mlflow/runs/get" => wire.answer("503 Service Unavailable", "{}"),
        _ => wire.answer("404 Not Found", "{}"),
    });
    let appliance = exporting(&upstream, &collector).start();
    assert_eq!(appliance.get("/api/2.0/mlflow/runs/get").status, 503);
    let (server, clients) = taken_apart(collector.wait_for(3));
    assert_eq!(server.attribute("error.type"), Some("503"));
    assert_eq!(server.document["status"]["code"], 2);
    let failures: Vec<_> = clients
        .iter()
        .map(|span| (span.attribute("error.type"), span.attribute("http.request.resend_count")))
        .collect();
    assert_eq!(failures, [(Some("upstream-closed"), None), (Some("503"), Some("1"))]);
    let sent: Vec<_> = upstream.requests().iter().map(|request| parts(request)[2].clone()).collect();
    assert_eq!(sent, [clients[0].text("spanId"), clients[1].text("spanId")], "each names its own");

    // A mistake of the caller's: the call failed, the server did not.
    assert_eq!(appliance.get("/api/2.0/mlflow/experiments/get").status, 404);
    let (server, clients) = taken_apart(collector.wait_for(5).split_off(3));
    assert_eq!((server.attribute("error.type"), server.document.get("status")), (None, None));
    assert_eq!(clients[0].attribute("error.type"), Some("404"));

    // What the appliance refuses has one span only.
    assert_eq!(appliance.get("/t/nobody/version").status, 404);
    let (server, clients) = taken_apart(collector.wait_for(6).split_off(5));
    assert_eq!((server.attribute("appliance.refusal"), server.text("name")), (Some("no-such-target"), "GET"));
    assert!(clients.is_empty());

    upstream.stop();
    assert_eq!(appliance.get("/version").status, 502);
    let (server, clients) = taken_apart(collector.wait_for(9).split_off(6));
    assert_eq!(server.attribute("error.type"), Some("upstream-unreachable"));
    assert_eq!(clients.len(), 2);
    assert!(clients.iter().all(|span| span.attribute("error.type") == Some("upstream-unreachable")), "{clients:#?}");
}

#[test]
fn mlflows_own_traces_pass_byte_for_byte() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let appliance = exporting(&upstream, &collector).start();
    // As MLflow's client sends them: Protobuf, and the experiment in a header.
    let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let fields = [("Content-Type", "application/x-protobuf"), ("x-mlflow-experiment-id", "7")];
    assert_eq!(appliance.connect().request("POST", "/v1/traces", &fields, Some(&body)).status, 200);
    let seen = upstream.only_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/traces"));
    assert!(seen.body == body, "{} bytes", seen.body.len());
    assert_eq!(seen.header("content-type"), "application/x-protobuf");
    assert_eq!(seen.header("x-mlflow-experiment-id"), "7");
    let (server, clients) = taken_apart(collector.wait_for(2));
    assert_eq!(server.attribute("appliance.action"), Some("traces:export"));
    assert_eq!(clients.len(), 1, "the spans that pass are not ours");
}

#[test]
fn what_waits_is_sent_before_the_end() {
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
fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let (url, port) = (collector.url(), 4);
    drop(collector);
    // Nobody listens on a port that is reserved.
    let url = format!("{}:{port}", url.rsplit_once(':').unwrap().0);
    let mut appliance = Builder::new(&upstream).with(&["--otlp-endpoint", &url]).with_admin().start();
    let mut caller = appliance.connect();
    let count = 5000;
    let began = Instant::now();
    for _ in 0..count {
        assert_eq!(caller.get("/version").status, 200);
    }
    eventually("the queue is full", || dropped(&appliance, "queue-full") > 0);
    eventually("somebody is told", || appliance.log().contains("spans cannot be sent"));
    eprintln!("{count} requests without a collector: {:?}", began.elapsed());
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let log = appliance.log();
    assert_eq!(log.matches("spans cannot be sent").count(), 1, "once, and no flood: {log}");
    assert!(log.contains("start a collector there"), "what to do: {log}");
}

fn dropped(appliance: &Appliance, reason: &str) -> u64 {
    let text = appliance.admin("/metrics").text();
    let line = format!("appliance_spans_dropped_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("{line} in {text}")).parse().unwrap()
}

#[test]
fn a_collector_that_says_nothing_holds_nobody_up() {
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
    assert!(began.elapsed() < Duration::from_secs(4), "the end waits for nobody: {:?}", began.elapsed());
    assert!(appliance.log().contains("the last spans could not be sent in time"), "{}", appliance.log());
}

#[test]
fn what_a_collector_refuses_is_counted_and_what_it_puts_off_comes_again() {
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
    eventually("it is tried again", || exported(&appliance) > 1.5);
    let requests = collector.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body, "the same batch");
    eventually("somebody is told", || appliance.log().contains("spans are taken again"));
    assert_eq!(appliance.get("/version").status, 200);
    eventually("one of two is refused", || dropped(&appliance, "rejected") == 1);
    assert!(exported(&appliance) > 2.5);
    assert_eq!(appliance.get("/version").status, 200);
    eventually("a whole batch is refused", || dropped(&appliance, "undelivered") == 2);
    assert_eq!(collector.requests().len(), 4, "for good, so it is not repeated");
}

#[test]
fn opentelemetrys_own_variables_are_understood() {
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
    // Ours win, and can say no.
    let appliance = Builder::new(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with(&["--otlp-endpoint", "off"])
        .start();
    assert_eq!(appliance.get("/version").status, 200);
    assert!(!upstream.requests().last().unwrap().has("traceparent"));
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_official_schema_reads_what_is_sent() {
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

#[test]
fn requests_to_s3_are_spans_without_their_signatures() {
    let (mlflow, collector) = (Upstream::ok(), Collector::start());
    let s3 = Upstream::plain(|request, wire| match request.method.as_str() {
        "PUT" => wire.answer("200 OK", ""),
        _ => wire.answer("404 Not Found", ""),
    });
    let store = ["--artifact-store", "s3://bucket/team", "--s3-endpoint", &s3.url()];
    let appliance = exporting(&mlflow, &collector).with(&store).start();
    let target = "/api/2.0/mlflow-artifacts/artifacts/1/model.bin";
    assert_eq!(appliance.connect().request("PUT", target, &[], Some(b"weights")).status, 200);
    let (server, clients) = taken_apart(collector.wait_for(2));
    assert_eq!((server.text("name"), server.attribute("appliance.route")), ("PUT artifacts:upload", Some("artifacts")));
    assert_eq!(clients[0].attribute("url.full"), Some(format!("{}/bucket/team/1/model.bin", s3.url()).as_str()));
    assert_eq!(clients[0].text("parentSpanId"), server.text("spanId"));
    assert!(s3.only_request().target.contains("X-Amz-Signature="));
    assert!(!s3.only_request().has("traceparent"), "S3 has no use for it");
    let sent = String::from_utf8_lossy(&collector.requests()[0].body).into_owned();
    assert!(!sent.contains("X-Amz") && !sent.contains("weights"), "{sent}");
    assert_eq!(appliance.get(target).status, 404);
    let (server, clients) = taken_apart(collector.wait_for(4).split_off(2));
    assert_eq!((server.document.get("status"), clients[0].attribute("error.type")), (None, Some("404")));
    assert!(mlflow.requests().is_empty());
}
