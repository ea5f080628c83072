//! The metrics: counts are exact, and clients cannot create series.

use std::collections::BTreeMap;
use std::time::Duration;

use super::credentials::{ROLE, sts};
use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::scrape::Scrape;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, python};

/// An upstream that fails for some paths.
fn moody() -> Upstream {
    Upstream::start(|request, wire| match request.target.split('?').next().unwrap_or_default() {
        "/api/2.0/mlflow/runs/get" => wire.answer("200 OK", "0123456789"),
        "/api/2.0/mlflow/experiments/get" => wire.answer("404 Not Found", "{}"),
        "/api/2.0/mlflow/registered-models/get" => wire.answer("500 Internal Server Error", "{}"),
        "/api/2.0/mlflow/metrics/get-history" => {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")?;
            Err(wire.reset())
        }
        "/version" => wire.answer("403 Forbidden", "{}"),
        _ => wire.answer("200 OK", "{}"),
    })
}

/// Returns the samples of a family that are not zero, by their labels.
fn counted(scrape: &Scrape, name: &str) -> BTreeMap<String, u64> {
    let samples = scrape.samples(name, &[]);
    let some = samples.iter().filter(|(.., value)| *value > 0.0);
    some.map(|(_, labels, _)| {
        let wanted: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let words: Vec<_> = labels.values().map(String::as_str).collect();
        (words.join(" "), scrape.count(name, &wanted))
    })
    .collect()
}

fn expected(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(labels, count)| ((*labels).to_owned(), *count)).collect()
}

/// Waits until so many requests have been counted. A request is counted a moment after its last byte was sent.
#[track_caller]
pub(super) fn after(appliance: &Appliance, requests: u64) -> Scrape {
    let mut scrape = appliance.metrics();
    eventually("all requests are counted", || {
        scrape = appliance.metrics();
        scrape.count("appliance_requests_total", &[]) >= requests
    });
    assert_eq!(scrape.count("appliance_requests_total", &[]), requests);
    scrape
}

#[test]
fn counts_are_exact_by_target_role_route_and_status() {
    let (first, second) = (moody(), Upstream::ok());
    let tokens = TokenFile::new();
    let (reader, writer) = (tokens.add("ann", "read", &[]).bearer(), tokens.add("ci", "write", &[]).bearer());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let table = |name: &str, arn: &str, upstream: &Upstream| {
        format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{}\"\n", upstream.url())
    };
    let trust = format!("ca-file = \"{}\"\n", authority().file().display());
    std::fs::write(&file, trust + &table("a", TRACKING_ARN, &first) + &table("b", APP_ARN, &second)).unwrap();
    let appliance = Builder::from_file(&file).with_tokens(&tokens).with_admin().start();

    let ask = |method: &str, path: &str, bearer: &str, body: Option<&[u8]>| {
        let fields = [("Authorization", bearer)];
        appliance.connect().request(method, path, &fields, body).status
    };
    for _ in 0..3 {
        assert_eq!(ask("GET", "/api/2.0/mlflow/runs/get?run_id=1", &reader, None), 200);
    }
    assert_eq!(ask("POST", "/t/b/api/2.0/mlflow/runs/create", &writer, Some(b"{\"a\":1}")), 200);
    assert_eq!(ask("POST", "/api/2.0/mlflow/runs/create", &reader, Some(b"{}")), 403);
    assert_eq!(ask("GET", "/api/2.0/mlflow/experiments/get", &reader, None), 404);
    assert_eq!(ask("GET", "/api/2.0/mlflow/registered-models/get", &writer, None), 500);
    assert_eq!(ask("GET", "/version", &writer, None), 403);
    assert_eq!(ask("GET", "/version", "Bearer nonsense", None), 401);
    assert_eq!(ask("GET", "/t/nowhere/", &reader, None), 404);
    assert_eq!(ask("GET", "/elsewhere", &writer, None), 403);
    assert_eq!(ask("GET", "/a/../b", &writer, None), 400);
    let mut caller = appliance.connect();
    caller
        .send(format!(
            "GET /api/2.0/mlflow/metrics/get-history HTTP/1.1\r\nHost: localhost\r\nAuthorization: {reader}\r\n\r\n"
        ))
        .unwrap();
    assert!(caller.answer(false).is_err(), "a truncated response ends the connection");
    // Health checks are not counted.
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);

    let scrape = after(&appliance, 13);
    assert_eq!(
        counted(&scrape, "appliance_requests_total"),
        // Role, route, status, target.
        expected(&[
            ("read runs 2xx a", 3),
            ("write runs 2xx b", 1),
            ("read runs 4xx a", 1),
            ("read experiments 4xx a", 1),
            ("write registry 5xx a", 1),
            ("write server 4xx a", 1),
            ("none none 4xx (none)", 2),
            ("read none 4xx (none)", 1),
            ("write unclassified 4xx a", 1),
            ("read metrics 2xx a", 1),
        ])
    );
    assert_eq!(
        counted(&scrape, "appliance_requests_ended_total"),
        expected(&[("complete a", 8), ("truncated a", 1), ("complete b", 1), ("complete (none)", 3)])
    );
    assert_eq!(
        counted(&scrape, "appliance_rejections_total"),
        expected(&[
            ("role-too-low a", 2),
            ("unauthenticated (none)", 1),
            ("no-such-target (none)", 1),
            ("bad-request (none)", 1),
        ])
    );
    assert_eq!(counted(&scrape, "appliance_sheds_total"), expected(&[]));
    assert_eq!(counted(&scrape, "appliance_retries_total"), expected(&[]));
    // Three responses of ten bytes, and a proxy error.
    let labels = [("target", "a"), ("role", "read"), ("route", "runs")];
    let sent = scrape.count("appliance_response_body_bytes_total", &labels);
    let fields = [("Authorization", reader.as_str())];
    let error = appliance.connect().request("POST", "/api/2.0/mlflow/runs/create", &fields, Some(b"{}"));
    assert_eq!(sent, 30 + error.body.len() as u64);
    assert_eq!(scrape.count("appliance_response_body_bytes_total", &[("target", "b")]), 2);
    assert_eq!(scrape.count("appliance_request_body_bytes_total", &[("target", "b")]), 7);
    assert_eq!(scrape.count("appliance_request_body_bytes_total", &[]), 7, "a rejected body is not read");
    // Only requests with a response from upstream have an upstream latency and an overhead.
    for name in ["appliance_upstream_duration_seconds_count", "appliance_overhead_duration_seconds_count"] {
        assert_eq!(scrape.count(name, &[("target", "a")]), 7, "{name}");
        assert_eq!(scrape.count(name, &[("target", "b")]), 1, "{name}");
        assert_eq!(scrape.count(name, &[("target", "(none)")]), 0, "{name}");
    }
    assert_eq!(scrape.count("appliance_request_duration_seconds_count", &[]), 13);
    let total = scrape.sum("appliance_request_duration_seconds_sum", &[("target", "b")]);
    let parts = scrape.sum("appliance_upstream_duration_seconds_sum", &[("target", "b")])
        + scrape.sum("appliance_overhead_duration_seconds_sum", &[("target", "b")]);
    assert!(parts > 0.0 && parts <= total, "{parts} of {total}");
    for target in ["a", "b"] {
        assert_eq!(scrape.count("appliance_ready", &[("target", target)]), 1);
        assert_eq!(scrape.samples("appliance_ready", &[("target", target)]).len(), 1);
    }
    assert_eq!(scrape.count("appliance_requests_in_flight", &[]), 0);
    assert_eq!(scrape.count("appliance_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1);
}

#[test]
fn slow_responses_are_counted_in_their_buckets() {
    let upstream = Upstream::start(|_, wire| {
        std::thread::sleep(Duration::from_millis(300));
        wire.answer("200 OK", "{}")
    });
    let appliance = Builder::new(&upstream).with_admin().start();
    assert_eq!(appliance.get("/version").status, 200);
    let scrape = after(&appliance, 1);
    for name in ["appliance_request_duration_seconds_bucket", "appliance_upstream_duration_seconds_bucket"] {
        assert_eq!(scrape.count(name, &[("le", "0.25")]), 0, "{name}");
        assert_eq!(scrape.count(name, &[("le", "10")]), 1, "{name}");
    }
    assert_eq!(scrape.count("appliance_overhead_duration_seconds_bucket", &[("le", "0.25")]), 1);
}

#[test]
fn waiting_for_the_clients_body_is_not_overhead() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().start();
    let mut caller = appliance.connect();
    caller.send("POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{").unwrap();
    eventually("the request has begun", || appliance.metrics().count("appliance_requests_in_flight", &[]) == 1);
    std::thread::sleep(Duration::from_millis(600));
    caller.send("}").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    let scrape = after(&appliance, 1);
    assert!(scrape.sum("appliance_request_duration_seconds_sum", &[]) >= 0.6);
    assert!(scrape.sum("appliance_overhead_duration_seconds_sum", &[]) < 0.5);
}

#[test]
fn metrics_follow_credentials_and_connections() {
    let (upstream, (sts, is_up)) = (Upstream::ok(), sts(4));
    let appliance = Builder::new(&upstream)
        .with(&["--role-arn", ROLE, "--upstream-keep-alive", "1s"])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .with_admin()
        .start();
    assert_eq!(appliance.get("/version").status, 200);
    let scrape = after(&appliance, 1);
    let left = scrape.sum("appliance_credentials_expiry_timestamp_seconds", &[("target", "default")])
        - std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((-1.0..=5.0).contains(&left), "{left}");
    assert_eq!(
        scrape.count("appliance_upstream_connections_total", &[("result", "opened")]),
        upstream.connections() as u64
    );
    assert_eq!(scrape.count("appliance_upstream_connections_total", &[("result", "failed")]), 0);
    let obtained = [("source", "assume-role"), ("outcome", "obtained")];
    eventually("the credentials are renewed", || {
        appliance.metrics().count("appliance_credential_requests_total", &obtained) >= 2
    });
    is_up.store(false, std::sync::atomic::Ordering::SeqCst);
    let refused = [("source", "assume-role"), ("outcome", "refused")];
    let unreachable = [("source", "assume-role"), ("outcome", "unreachable")];
    eventually("an outage is seen", || {
        let scrape = appliance.metrics();
        let failed = |labels| scrape.count("appliance_credential_requests_total", labels);
        failed(&refused) + failed(&unreachable) >= 1
    });
    eventually("the idle connection is closed", || {
        appliance.metrics().count("appliance_upstream_connections_open", &[]) == 0
    });
    assert!(appliance.metrics().count("appliance_upstream_connections_total", &[("result", "opened")]) >= 1);
}

#[test]
fn buffered_bodies_are_measured_while_they_are_buffered() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream)
        .with_admin()
        .with(&["--body-memory-limit", "1 KiB", "--body-disk-budget", "1 MiB"])
        .start();
    let mut caller = appliance.connect();
    caller
        .send("POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000\r\n\r\n")
        .unwrap();
    let disk = [("place", "disk")];
    let held = || appliance.metrics().count("appliance_body_bytes", &disk);
    assert_eq!(held(), 0, "an announced body uses no budget");
    caller.send(vec![b'x'; 300_000]).unwrap();
    eventually("the body is buffered", || (200_000..=300_000).contains(&held()));
    assert_eq!(appliance.metrics().count("appliance_body_budget_bytes", &disk), 1 << 20);
    let large = appliance.connect().request("POST", "/x", &[("Content-Length", "1048576")], None);
    assert_eq!((large.status, large.header("x-appliance-error")), (429, "uploads-over-budget"));
    drop(caller);
    eventually("the budget is released", || appliance.metrics().count("appliance_body_bytes", &disk) == 0);
    let shed = [("target", "default"), ("error_code", "uploads-over-budget")];
    eventually("the rejection is counted", || appliance.metrics().count("appliance_sheds_total", &shed) == 1);
}

#[test]
fn retries_are_counted() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::start(move |_, wire| {
        // The second request meets a connection that is being closed.
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number == 1 { Err(wire.close()) } else { wire.answer("200 OK", "{}") }
    });
    let appliance = Builder::new(&upstream).with_admin().start();
    for _ in 0..3 {
        assert_eq!(appliance.get("/version").status, 200);
    }
    assert_eq!(after(&appliance, 3).count("appliance_retries_total", &[("target", "default")]), 1);
}

#[test]
fn clients_cannot_create_series() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().start();
    let mut caller = appliance.connect();
    let mut known = 0;
    for round in 0..2 {
        for number in 0..150 {
            let number = number + round * 1000;
            let method = ["GET", "POST", "DELETE", "BREW"][number % 4];
            let (path, host) = (format!("/api/2.0/mlflow/{number}/get"), format!("stranger-{number}.localhost"));
            caller.request(method, &path, &[("X-Forwarded-For", "10.0.0.1"), ("User-Agent", &host)], None);
            caller.get(&format!("/t/target-{number}/"));
        }
        let scrape = after(&appliance, 300 * (round as u64 + 1));
        if round == 0 {
            known = scrape.series();
            assert!(known < 300, "{known}");
        } else {
            assert_eq!(scrape.series(), known);
        }
    }
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_official_prometheus_parser_reads_the_metrics() {
    let bin = python::environment();
    let upstream = moody();
    let appliance = Builder::new(&upstream).with_admin().start();
    for path in ["/api/2.0/mlflow/runs/get", "/version", "/a/../b", "/api/2.0/mlflow/registered-models/get"] {
        appliance.get(path);
    }
    let ours = after(&appliance, 4);
    let text = appliance.admin("/metrics").text();
    let theirs = python::run(&bin, "read_metrics.py", &[], text.as_bytes());
    let families = theirs.as_object().unwrap();
    let names: Vec<_> =
        ours.families.iter().map(|(name, family)| (name.trim_end_matches("_total"), family.samples.len())).collect();
    assert_eq!(families.len(), names.len());
    for (name, samples) in names {
        assert_eq!(families[name].as_u64(), Some(samples as u64), "{name}");
    }
}

#[test]
fn the_removed_option_metrics_emf_causes_a_warning_only() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metrics.jsonl");
    let mut appliance = Builder::new(&upstream).with(&["--metrics-emf", file.to_str().unwrap()]).start();
    assert_eq!(appliance.get("/version").status, 200);
    assert!(appliance.log().contains("`metrics-emf` has no effect any more"), "{}", appliance.log());
    appliance.signal(rustix::process::Signal::TERM);
    assert!(appliance.ended().success());
    assert!(!file.exists(), "no metrics are written to the file");
}
