//! What is counted, and the listener where it is asked for.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::credentials::{ROLE, sts};
use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Appliance, Builder, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command};
use crate::support::authority::authority;
use crate::support::caller::Caller;
use crate::support::scrape::Scrape;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, python};

/// An upstream that fails where the path says so.
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

/// A family's samples that are not zero, by their labels.
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

/// Waits until so many requests have been counted: a request is, a moment after its last byte has gone.
#[track_caller]
fn after(appliance: &Appliance, requests: u64) -> Scrape {
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
    assert!(caller.answer(false).is_err(), "it is cut");
    // Probes are nobody's requests.
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
        counted(&scrape, "appliance_refusals_total"),
        expected(&[
            ("role-too-low a", 2),
            ("unauthenticated (none)", 1),
            ("no-such-target (none)", 1),
            ("bad-request (none)", 1),
        ])
    );
    assert_eq!(counted(&scrape, "appliance_sheds_total"), expected(&[]));
    assert_eq!(counted(&scrape, "appliance_retries_total"), expected(&[]));
    assert_eq!(
        scrape.count("appliance_response_body_bytes_total", &[("target", "a"), ("role", "read"), ("route", "runs")])
            % 10,
        {
            // Three answers of ten bytes, and a refusal of the appliance's own.
            let refusal = appliance.connect().request(
                "POST",
                "/api/2.0/mlflow/runs/create",
                &[("Authorization", &reader)],
                Some(b"{}"),
            );
            refusal.body.len() as u64 % 10
        }
    );
    assert_eq!(scrape.count("appliance_response_body_bytes_total", &[("target", "b")]), 2);
    assert_eq!(scrape.count("appliance_request_body_bytes_total", &[("target", "b")]), 7);
    assert_eq!(scrape.count("appliance_request_body_bytes_total", &[]), 7, "what is refused is not read");
    // What was answered upstream, and no more, has a share of the upstream and one of our own.
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
fn slow_answers_are_in_the_buckets_they_belong_to() {
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
fn waiting_for_the_callers_body_is_not_overhead() {
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
fn it_answers_while_all_workers_are_taken_and_while_it_drains() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |_, wire| {
        wait.lock().unwrap().recv().map_err(std::io::Error::other)?;
        wire.answer("200 OK", "{}")
    });
    let mut appliance = Builder::new(&upstream).with_admin().with(&["--connection-limit", "1"]).start();
    let mut caller = appliance.connect();
    caller.send("GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    eventually("the only place is taken", || upstream.requests().len() == 1);
    let mut waiting = appliance.connect();
    waiting.send("GET /_appliance/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    waiting.wait_for(Duration::from_millis(300));
    assert!(waiting.head().is_err(), "nobody else is served");
    let scrape = appliance.metrics();
    assert_eq!(scrape.count("appliance_requests_in_flight", &[]), 1);
    assert_eq!(scrape.count("appliance_upstream_connections_open", &[("target", "default")]), 1);
    assert_eq!((appliance.admin("/livez").status, appliance.admin("/readyz").status), (200, 200));

    appliance.signal(Signal::TERM);
    eventually("readiness says so", || appliance.admin("/readyz").status == 503);
    assert!(appliance.admin("/readyz").json()["reason"].as_str().unwrap().contains("shutting down"));
    assert_eq!(appliance.metrics().count("appliance_draining", &[]), 1);
    release.send(()).unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    assert!(appliance.ended().success());
}

#[test]
fn readiness_is_what_the_other_listener_says() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without_credentials().with_admin().start();
    eventually("the chain has been tried", || appliance.log().contains("no AWS credentials were found"));
    let (here, there) = (appliance.admin("/readyz"), appliance.get("/_appliance/readyz"));
    assert_eq!((here.status, here.json()), (there.status, there.json()));
    assert_eq!(here.status, 503);
    assert_eq!(appliance.admin("/readyz/nowhere").status, 404);
    assert_eq!(appliance.admin("/livez").status, 200);
    let scrape = appliance.metrics();
    assert_eq!(scrape.count("appliance_ready", &[]), 0);
    assert!(scrape.samples("appliance_credentials_expiry_timestamp_seconds", &[]).is_empty());
    let nothing = [("source", "chain"), ("outcome", "none-found"), ("target", "default")];
    assert!(scrape.count("appliance_credential_requests_total", &nothing) >= 1);
}

#[test]
fn credentials_and_connections_are_followed() {
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
    eventually("they are renewed", || appliance.metrics().count("appliance_credential_requests_total", &obtained) >= 2);
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
fn what_bodies_hold_is_seen_while_they_hold_it() {
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
    assert_eq!(held(), 0, "an announcement holds nothing");
    caller.send(vec![b'x'; 300_000]).unwrap();
    eventually("the body has its place", || (200_000..=300_000).contains(&held()));
    assert_eq!(appliance.metrics().count("appliance_body_budget_bytes", &disk), 1 << 20);
    let large = appliance.connect().request("POST", "/x", &[("Content-Length", "1048576")], None);
    assert_eq!((large.status, large.header("x-appliance-error")), (429, "uploads-over-budget"));
    drop(caller);
    eventually("it gives it back", || appliance.metrics().count("appliance_body_bytes", &disk) == 0);
    let shed = [("target", "default"), ("kind", "uploads-over-budget")];
    eventually("the refusal is counted", || appliance.metrics().count("appliance_sheds_total", &shed) == 1);
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
fn callers_cannot_make_series() {
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
fn it_answers_whom_it_should_and_shows_nothing_else() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().with(&["--allowed-hosts", "mlflow.corp"]).start();
    let ask = |method: &str, target: &str, host: &str| {
        let mut caller = Caller::connect(appliance.admin_address());
        caller.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).unwrap();
        caller.answer(method == "HEAD").unwrap()
    };
    for target in ["/livez", "/readyz", "/metrics", "/status", "/status.json"] {
        for host in ["localhost:5090", "127.0.0.1", "[::1]:5090", "10.1.2.3", "mlflow.corp", "MLFLOW.corp:80"] {
            assert_eq!(ask("GET", target, host).status, 200, "{target} {host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5090"] {
            assert_eq!(ask("GET", target, host).status, 403, "{target} {host}");
        }
        let head = ask("HEAD", target, "localhost");
        assert!(head.status == 200 && head.body.is_empty());
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(ask(method, target, "localhost").status, 405, "{method} {target}");
        }
        let answer = ask("GET", target, "localhost");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{target}");
        }
        assert!(answer.all("access-control-allow-origin").is_empty());
    }
    assert_eq!(ask("GET", "/metrics", "localhost").header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let home = ask("GET", "/", "localhost");
    assert_eq!((home.status, home.header("location")), (302, "./status"));
    for target in
        ["/nothing", "/_appliance/healthz", "/api/2.0/mlflow/runs/get", "/status/", "/metrics/x", "/../metrics"]
    {
        assert_eq!(ask("GET", target, "localhost").status, 404, "{target}");
    }
    assert_eq!(upstream.requests().len(), 0, "nothing of it is passed on");
    // And nothing of it is on the listener for callers: there these are MLflow's.
    assert_eq!(appliance.get("/metrics").status, 200);
    assert_eq!(upstream.only_request().target, "/metrics");
}

#[test]
fn no_secret_is_shown() {
    let upstream = Upstream::start(|request, wire| match request.target.split('?').next().unwrap_or_default() {
        "/closed" => Err(wire.close()),
        "/forbidden" => wire.answer("403 Forbidden", "{}"),
        _ => wire.answer("500 Internal Server Error", "body-of-mlflow"),
    });
    let (sts, _) = sts(3600);
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "write", &[]);
    let appliance = Builder::new(&upstream)
        .with(&["--role-arn", ROLE, "--role-external-id", "external-id-7f"])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .with_tokens(&tokens)
        .with_admin()
        .start();
    let bearer = token.bearer();
    for path in ["/closed", "/forbidden", "/api/2.0/mlflow/runs/get", "/elsewhere", "/a/../b"] {
        for authorization in [bearer.as_str(), "Bearer wrong-token-8e", "Basic d3JvbmctdXNlcjp3cm9uZy1wYXNzd29yZA=="] {
            let fields = [("Authorization", authorization), ("Cookie", "session=caller-cookie-2e")];
            let target = format!("{path}?secret=query-secret-3d");
            let answer = appliance.connect().request("POST", &target, &fields, Some(b"body-secret-4c"));
            assert!(answer.status >= 400, "{path}");
        }
    }
    after(&appliance, 15);
    let said = ["/metrics", "/status", "/status.json", "/readyz"].map(|path| appliance.admin(path).text()).concat();
    assert!(said.contains("/closed") && said.contains("unauthenticated"), "failures are shown: {said}");
    let secrets = [
        SECRET_ACCESS_KEY,
        SESSION_TOKEN,
        "AKIDEXAMPLE",
        "ASIAROLE0",
        "role-secret",
        "role-token",
        ROLE,
        "external-id-7f",
        &token.text,
        &token.id,
        "wrong-token-8e",
        "d3JvbmctdXNlcjp3cm9uZy1wYXNzd29yZA==",
        "wrong-password",
        "caller-cookie-2e",
        "query-secret-3d",
        "body-secret-4c",
        "body-of-mlflow",
        "AWS4-HMAC-SHA256",
    ];
    for secret in secrets {
        assert!(!said.contains(secret), "`{secret}` is shown");
    }
}

/// Starts `serve` with these arguments and returns how it ended and what it said; for what does not start.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let common = ["serve", "--listen", "127.0.0.1:0", "--resource-arn", TRACKING_ARN];
    let mut command = command(&[&common[..], arguments].concat());
    let output = command.env_remove("APPLIANCE_ADMIN_LISTEN").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn beyond_this_machine_it_has_to_be_said_who_may_ask() {
    for (arguments, said) in [
        (&["--admin-listen", "0.0.0.0:0"][..], "set `admin-networks`"),
        (&["--admin-listen", "10.0.0.1:5090"], "set `admin-networks`"),
        (&["--admin-listen", "off", "--admin-networks", "10.0.0.0/8"], "this has no effect"),
        (&["--admin-networks", "10.0.0.0/8"], "this has no effect"),
        (&["--admin-listen", "0.0.0.0:0", "--admin-networks", "10.0.0.1/8"], "beyond its prefix"),
        (&["--admin-listen", "somewhere"], "or `off`"),
    ] {
        let (code, text) = refused(arguments);
        assert!(code == Some(78) && text.contains(said), "{arguments:?}: {text}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = refused(&["--admin-listen", &address]);
    assert!(code == Some(78) && text.contains(&format!("cannot listen on `{address}`")), "{text}");
}

/// `serve` with an admin listener at all addresses, for one network that this machine is not in.
fn serve_with_admin_networks(upstream: &Upstream) -> Appliance {
    Builder::new(upstream).with(&["--admin-listen", "0.0.0.0:0", "--admin-networks", "203.0.113.0/24"]).start()
}

fn status_at(address: &str, appliance: &Appliance) -> u16 {
    let port = appliance.admin_address().port();
    Caller::connect(format!("{address}:{port}").parse().unwrap()).get("/livez").status
}

#[test]
fn the_admin_listener_always_answers_its_own_machine() {
    let upstream = Upstream::ok();
    assert_eq!(status_at("127.0.0.1", &serve_with_admin_networks(&upstream)), 200);
}

#[test]
#[ignore = "needs tests/run: an address beside the loopback one"]
fn the_admin_listener_rejects_foreign_networks() {
    let output = Command::new("hostname").arg("-I").output().unwrap();
    let addresses = String::from_utf8(output.stdout).unwrap();
    let address = addresses.split_whitespace().find(|address| address.contains('.')).expect("an address");
    let upstream = Upstream::ok();
    assert_eq!(status_at(address, &serve_with_admin_networks(&upstream)), 403, "{address} is in none of the networks");
}

#[test]
fn without_being_asked_for_it_is_no_reason_not_to_start() {
    // Whoever has the usual port: this test, or something else on the machine.
    let _taken = TcpListener::bind("127.0.0.1:5090");
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without("APPLIANCE_ADMIN_LISTEN").start();
    assert_eq!(appliance.get("/version").status, 200);
    assert!(appliance.log().contains("there is no admin listener"), "{}", appliance.log());
    let off = Appliance::before(&upstream);
    assert!(!off.log().contains("admin listener"), "{}", off.log());
}

/// What the specification of the embedded metric format demands of a line.
fn check_embedded_metrics(line: &Value) {
    const UNITS: [&str; 4] = ["Count", "Bytes", "Milliseconds", "Seconds"];
    let root = line.as_object().unwrap();
    let about = root["_aws"].as_object().unwrap();
    assert_eq!(about.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"], "no other members");
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
        - u128::from(about["Timestamp"].as_u64().expect("milliseconds"));
    assert!(age < 60_000, "{age}");
    let directives = about["CloudWatchMetrics"].as_array().unwrap();
    assert_eq!(directives.len(), 1);
    let directive = directives[0].as_object().unwrap();
    assert_eq!(directive.keys().collect::<Vec<_>>(), ["Dimensions", "Metrics", "Namespace"], "no other members");
    assert!((1..=1024).contains(&directive["Namespace"].as_str().unwrap().len()));
    let sets = directive["Dimensions"].as_array().unwrap();
    assert!(!sets.is_empty());
    for name in sets.iter().flat_map(|set| set.as_array().unwrap()) {
        let value = root[name.as_str().unwrap()].as_str().expect("a dimension is text at the root");
        assert!((1..=1024).contains(&value.len()) && value.is_ascii(), "{value}");
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&metrics.len()));
    let mut seen = std::collections::HashSet::new();
    for metric in metrics {
        let name = metric["Name"].as_str().unwrap();
        assert!((1..=1024).contains(&name.len()) && seen.insert(name), "{name}");
        assert!(root[name].is_number(), "{name} is a number at the root");
        assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
        assert!(metric.as_object().unwrap().keys().all(|key| ["Name", "Unit"].contains(&key.as_str())));
    }
    assert!(line.to_string().len() < 256 * 1024);
}

#[test]
fn cloudwatch_is_told_in_its_own_format() {
    let upstream = moody();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metrics.jsonl");
    let mut appliance = Builder::new(&upstream).with(&["--metrics-emf", file.to_str().unwrap()]).start();
    for _ in 0..4 {
        assert_eq!(appliance.get("/api/2.0/mlflow/runs/get").status, 200);
    }
    assert_eq!(appliance.get("/api/2.0/mlflow/registered-models/get").status, 500);
    assert_eq!(appliance.get("/a/../b").status, 400);
    // The last minute is not lost.
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "the target, and the process: {text}");
    lines.iter().for_each(check_embedded_metrics);
    let (target, process) = (&lines[0], &lines[1]);
    assert_eq!(target["_aws"]["CloudWatchMetrics"][0]["Namespace"], "MLflowAppliance");
    assert_eq!(target["Target"], "default");
    let figures = ["Requests", "Failed", "Refused", "SentBytes", "Ready"].map(|name| target[name].as_u64().unwrap());
    assert_eq!(figures, [5, 1, 0, 42, 0], "it was not ready any more: {target}");
    assert!(target["DurationP99"].as_f64().unwrap() >= target["DurationP50"].as_f64().unwrap());
    assert_eq!((process["Requests"].as_u64(), process["Refused"].as_u64()), (Some(1), Some(1)));
    assert!(process.get("Target").is_none() && process["InFlight"] == 0, "{process}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_exposition_is_what_prometheus_own_parser_reads() {
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
