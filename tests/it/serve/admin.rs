//! The admin listener: the clients that may use it, and its pages.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::credentials::{ROLE, sts};
use super::metrics::after;
use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command};
use crate::support::caller::Caller;
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

#[test]
fn the_admin_listener_responds_while_all_workers_are_busy_and_while_draining() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |_, wire| {
        wait.lock().unwrap().recv().map_err(std::io::Error::other)?;
        wire.answer("200 OK", "{}")
    });
    let mut appliance = Builder::new(&upstream).with_admin().with(&["--connection-limit", "1"]).start();
    let mut caller = appliance.connect();
    caller.send("GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    eventually("the only connection permit is taken", || upstream.requests().len() == 1);
    let mut waiting = appliance.connect();
    waiting.send("GET /_appliance/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    waiting.wait_for(Duration::from_millis(300));
    assert!(waiting.head().is_err(), "a second client is not served");
    let scrape = appliance.metrics();
    assert_eq!(scrape.count("appliance_requests_in_flight", &[]), 1);
    assert_eq!(scrape.count("appliance_upstream_connections_open", &[("endpoint", &upstream.authority())]), 1);
    assert_eq!((appliance.admin("/livez").status, appliance.admin("/readyz").status), (200, 200));

    appliance.signal(Signal::TERM);
    eventually("readiness shows the shutdown", || appliance.admin("/readyz").status == 503);
    assert!(appliance.admin("/readyz").json()["reason"].as_str().unwrap().contains("shutting down"));
    assert_eq!(appliance.metrics().count("appliance_draining", &[]), 1);
    release.send(()).unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    assert!(appliance.ended().success());
}

#[test]
fn both_listeners_report_the_same_readiness() {
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
fn the_admin_listener_serves_its_own_pages_to_allowed_hosts_only() {
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
    assert_eq!(upstream.requests().len(), 0, "no request is forwarded");
    // On the listener for clients, these paths are MLflow's.
    assert_eq!(appliance.get("/metrics").status, 200);
    assert_eq!(upstream.only_request().target, "/metrics");
}

#[test]
fn the_admin_listener_shows_no_secret() {
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
    let shown = ["/metrics", "/status", "/status.json", "/readyz"].map(|path| appliance.admin(path).text()).concat();
    assert!(shown.contains("/elsewhere") && shown.contains("unauthenticated"), "failures are shown: {shown}");
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
        assert!(!shown.contains(secret), "`{secret}` is shown");
    }
}

/// Starts `serve` with arguments that it rejects, and returns its exit code and its output.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let common = ["serve", "--listen", "127.0.0.1:0", "--resource-arn", TRACKING_ARN];
    let mut command = command(&[&common[..], arguments].concat());
    let output = command.env_remove("APPLIANCE_ADMIN_LISTEN").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn listening_beyond_this_machine_requires_admin_networks() {
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
fn the_admin_listener_always_accepts_its_own_machine() {
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
fn a_taken_default_port_does_not_prevent_the_start() {
    // Either this test or another program has the default port.
    let _taken = TcpListener::bind("127.0.0.1:5090");
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without("APPLIANCE_ADMIN_LISTEN").start();
    assert_eq!(appliance.get("/version").status, 200);
    assert!(appliance.log().contains("the admin listener is disabled"), "{}", appliance.log());
    let off = Appliance::before(&upstream);
    assert!(!off.log().contains("admin listener"), "{}", off.log());
}
