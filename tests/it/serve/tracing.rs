//! Traces: clients' contexts reach the upstream, and the appliance's own spans describe requests and upstream calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::collector::{Collector, Span};
use crate::support::tokens::TokenFile;
use crate::support::upstream::{OK, Recorded, Upstream};

pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(super) const CALLER: &str = "00f067aa0ba902b7";
pub(super) const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

pub(super) fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

pub(super) fn exporting(upstream: &Upstream, collector: &Collector) -> Builder {
    Builder::new(upstream).with(&["--otlp-endpoint", &collector.url()])
}

/// Returns the server's span and those of its calls, ordered by their start.
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
fn a_clients_trace_reaches_the_upstream_unchanged() {
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
    // Without a trace, the appliance adds none.
    assert_eq!(appliance.get("/version").status, 200);
    assert!(!upstream.requests()[1].has("traceparent"));
    appliance.saw("no id in the log", |event| event["status"] == 200 && event.get("trace_id").is_none());
}

#[test]
fn two_spans_continue_a_clients_trace() {
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
    // The upstream gets the span of the call as its parent, and the other fields unchanged.
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
fn a_new_trace_begins_without_a_valid_one() {
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
fn a_trace_that_the_client_does_not_sample_is_not_recorded() {
    let (upstream, collector) = (Upstream::ok(), Collector::start());
    let mut appliance = exporting(&upstream, &collector).start();
    let unsampled = parent("00");
    let fields = [("traceparent", unsampled.as_str()), ("tracestate", STATE)];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    assert_eq!(upstream.only_request().header("traceparent"), unsampled);
    assert_eq!(upstream.only_request().header("tracestate"), STATE);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(collector.requests().is_empty(), "health checks are not recorded either: {:?}", collector.requests());
}

#[test]
fn the_sampling_ratio_applies_to_new_traces_only() {
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
    assert_eq!(told, recorded + 10, "a request that is not recorded sends no parent");
}

#[test]
fn each_attempt_is_a_span_with_its_error() {
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
    assert_eq!(sent, [clients[0].text("spanId"), clients[1].text("spanId")], "each attempt names its own span");

    // A client error: the call failed, the server did not.
    assert_eq!(appliance.get("/api/2.0/mlflow/experiments/get").status, 404);
    let (server, clients) = taken_apart(collector.wait_for(5).split_off(3));
    assert_eq!((server.attribute("error.type"), server.document.get("status")), (None, None));
    assert_eq!(clients[0].attribute("error.type"), Some("404"));

    // A rejected request has one span only.
    assert_eq!(appliance.get("/t/nobody/version").status, 404);
    let (server, clients) = taken_apart(collector.wait_for(6).split_off(5));
    assert_eq!((server.attribute("appliance.error_code"), server.text("name")), (Some("no-such-target"), "GET"));
    assert!(clients.is_empty());

    upstream.stop();
    assert_eq!(appliance.get("/version").status, 502);
    let (server, clients) = taken_apart(collector.wait_for(9).split_off(6));
    assert_eq!(server.attribute("error.type"), Some("upstream-unreachable"));
    assert_eq!(clients.len(), 2);
    assert!(clients.iter().all(|span| span.attribute("error.type") == Some("upstream-unreachable")), "{clients:#?}");
}

#[test]
fn mlflows_own_traces_pass_unchanged() {
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
    assert_eq!(clients.len(), 1, "spans for MLflow are not exported to the collector");
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
    assert!(!s3.only_request().has("traceparent"), "S3 gets no trace context");
    let sent = String::from_utf8_lossy(&collector.requests()[0].body).into_owned();
    assert!(!sent.contains("X-Amz") && !sent.contains("weights"), "{sent}");
    assert_eq!(appliance.get(target).status, 404);
    let (server, clients) = taken_apart(collector.wait_for(4).split_off(2));
    assert_eq!((server.document.get("status"), clients[0].attribute("error.type")), (None, Some("404")));
    assert!(mlflow.requests().is_empty());
}
