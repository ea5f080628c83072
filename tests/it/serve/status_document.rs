//! `status.json`: who uses the appliance, where the time goes, what failed, and what is configured.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::artifacts::SERVICE;
use super::credentials::{ROLE, sts};
use super::metrics::after;
use super::oidc::{Balancer, configured, header};
use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, figure};

const SEARCH: &str = "/api/2.0/mlflow/runs/search";
const WEBHOOKS: &str = "/api/2.0/mlflow/webhooks";
const CREATE: &str = "/api/2.0/mlflow/runs/create";

fn status(appliance: &Appliance) -> Value {
    appliance.admin("/status.json").json()
}

/// Returns the row of a caller.
#[track_caller]
fn row(document: &Value, name: &str, means: &str) -> Value {
    let rows = document["callers"]["rows"].as_array().unwrap();
    let found = rows.iter().find(|row| row["name"] == name && row["means"] == means);
    found.unwrap_or_else(|| panic!("no row of {name} by {means}: {rows:#?}")).clone()
}

/// An S3 that stores nothing.
fn s3() -> Upstream {
    Upstream::plain(|request, wire| match request.method.as_str() {
        "HEAD" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"),
        "GET" => wire.answer("200 OK", "artifact"),
        _ => wire.answer("200 OK", ""),
    })
}

#[test]
fn the_requests_of_callers_add_up_across_workers() {
    let mlflow = Upstream::start(|request, wire| match request.target.as_str() {
        "/api/2.0/mlflow/experiments/get-by-name" => wire.answer("404 Not Found", "{}"),
        "/api/2.0/mlflow/registered-models/get" => wire.answer("500 Internal Server Error", "{}"),
        _ => wire.answer("200 OK", "{}"),
    });
    let (s3, tokens) = (s3(), TokenFile::new());
    let (writer, reader) = (tokens.add("ci", "write", &[]).bearer(), tokens.add("ada", "read", &[]).bearer());
    let appliance = Builder::new(&mlflow)
        .env("APPLIANCE_WORKERS", "3")
        .with(&["--artifact-store", "s3://bucket/team", "--s3-endpoint", &s3.url()])
        .with_tokens(&tokens)
        .with_admin()
        .start();
    let artifact = format!("{SERVICE}/artifacts/1/run/artifacts/model.bin");
    let presigned = format!("{SERVICE}/presigned/1/run/artifacts/model.bin");
    // Connections that are open at the same time are spread over the workers.
    let mut connections: Vec<_> = (0..12).map(|_| appliance.connect()).collect();
    for connection in &mut connections {
        let mut ask = |method: &str, path: &str, bearer: &str, body: Option<&[u8]>| {
            connection.request(method, path, &[("Authorization", bearer)], body).status
        };
        assert_eq!(ask("PUT", &artifact, &writer, Some(b"12345")), 200);
        assert_eq!(ask("GET", &artifact, &reader, None), 200);
        assert_eq!(ask("GET", &presigned, &reader, None), 200);
        assert_eq!(ask("GET", "/api/2.0/mlflow/experiments/get-by-name", &reader, None), 404);
        assert_eq!(ask("GET", "/api/2.0/mlflow/registered-models/get", &reader, None), 500);
        assert_eq!(ask("POST", CREATE, &reader, Some(b"{}")), 403);
    }
    for _ in 0..2 {
        assert_eq!(appliance.get(SEARCH).status, 401);
    }
    let scrape = after(&appliance, 12 * 6 + 2);
    let document = status(&appliance);
    let ada = row(&document, "ada", "token");
    assert_eq!((&ada["role"], &ada["requests"]), (&"read".into(), &60.into()));
    // MLflow's own 404 is an ordinary response, and its 500 is a failure.
    assert_eq!((&ada["rejected"], &ada["failed"]), (&12.into(), &12.into()));
    assert_eq!(ada["artifact_bytes"], json!({"received": 0, "sent": 12 * "artifact".len()}));
    assert_eq!(ada["presigned"], json!({"downloads": 12, "uploads": 0}), "a download by URL is counted");
    let ci = row(&document, "ci", "token");
    assert_eq!((&ci["role"], &ci["requests"], &ci["rejected"]), (&"write".into(), &12.into(), &0.into()));
    assert_eq!(ci["artifact_bytes"], json!({"received": 60, "sent": 0}));
    let age = document["now"].as_f64().unwrap() - ci["last_seen"].as_f64().unwrap();
    assert!((-0.1..30.0).contains(&age), "{age}");
    let unauthenticated = &document["callers"]["unauthenticated"];
    assert_eq!((&unauthenticated["requests"], &unauthenticated["rejected"]), (&2.into(), &2.into()));
    assert_eq!(document["callers"]["others"], Value::Null);

    let traffic = &document["targets"][0]["traffic"];
    assert_eq!((&traffic["requests"], &traffic["rejected"], &traffic["failed"]), (&72.into(), &12.into(), &12.into()));
    assert_eq!(traffic["presigned"], json!({"downloads": 12, "uploads": 0}));
    assert_eq!(scrape.count("appliance_presigned_urls_total", &[("kind", "download")]), 12);
    let text = appliance.admin("/metrics").text();
    assert!(!text.contains("\"ada\"") && !text.contains("\"ci\""), "no caller is a label: {text}");
}

#[test]
fn a_browser_that_is_sent_to_sign_in_is_no_failure_and_a_session_has_a_row() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let token = tokens.add("ada", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with_admin().start();
    let page = [("Accept", "text/html")];
    assert_eq!(appliance.connect().request("GET", "/", &page, None).status, 303);
    let form = [("Origin", "http://localhost:5000"), ("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("token={}&next=/", token.text);
    let signed_in = appliance.connect().request("POST", "/_appliance/login", &form, Some(body.as_bytes()));
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(appliance.connect().request("GET", "/", &[("Cookie", &*cookie)], None).status, 200);
    after(&appliance, 3);
    let document = status(&appliance);
    assert_eq!(document["failures"], json!([]));
    assert_eq!(document["callers"]["unauthenticated"]["rejected"], 0);
    let session = row(&document, "ada", "session");
    assert_eq!((&session["tokens"]["count"], &session["tokens"]["end_soon"]), (&1.into(), &false.into()));
}

#[test]
fn failures_of_one_error_code_caller_and_route_are_one_row() {
    let (upstream, tokens) = (Upstream::start(|_, wire| Err(wire.close())), TokenFile::new());
    let (ada, bob) = (tokens.add("ada", "read", &[]).bearer(), tokens.add("bob", "read", &[]).bearer());
    let appliance = Builder::new(&upstream).env("APPLIANCE_WORKERS", "2").with_tokens(&tokens).with_admin().start();
    let ask = |method: &str, path: &str, bearer: &str| {
        appliance.connect().request(method, path, &[("Authorization", bearer)], Some(b"{}")).status
    };
    for number in 0..8 {
        assert_eq!(ask("POST", CREATE, &ada), 403);
        assert_eq!(ask("POST", &format!("/api/2.0/mlflow/registered-models/create?{number}"), &ada), 403);
        assert_eq!(ask("GET", &format!("/scan-{number}"), "Bearer x"), 401);
    }
    assert_eq!(ask("POST", CREATE, &bob), 403);
    assert_eq!(ask("POST", SEARCH, &bob), 502);
    after(&appliance, 26);
    let document = status(&appliance);
    let failures = document["failures"].as_array().unwrap();
    let mut seen: Vec<_> = failures
        .iter()
        .map(|failure| {
            let text = |key: &str| failure[key].as_str().unwrap_or("-").to_owned();
            (text("error_code"), text("caller"), text("action"), failure["count"].as_u64().unwrap())
        })
        .collect();
    seen.sort();
    let expected = [
        ("role-too-low", "ada", "registered-models:create", 8),
        ("role-too-low", "ada", "runs:create", 8),
        ("role-too-low", "bob", "runs:create", 1),
        ("unauthenticated", "-", "-", 8),
        ("upstream-closed", "bob", "runs:search", 1),
    ];
    assert_eq!(seen, expected.map(|(code, caller, action, count)| (code.into(), caller.into(), action.into(), count)));
    for failure in failures {
        assert!(failure["first"].as_f64().unwrap() <= failure["last"].as_f64().unwrap(), "{failure}");
        assert_eq!(failure["client"], "127.0.0.1", "{failure}");
        assert_eq!(failure["is_ours"], failure["error_code"] == "upstream-closed", "{failure}");
    }
}

#[test]
fn the_response_time_has_the_shares_of_mlflow_and_of_s3() {
    const MLFLOW: u64 = 60;
    const S3: u64 = 90;
    let mlflow = Upstream::start(|_, wire| {
        std::thread::sleep(Duration::from_millis(MLFLOW));
        wire.answer("200 OK", r#"{"run": {"info": {"artifact_uri": "s3://bucket/team/1/run/artifacts"}}}"#)
    });
    let s3 = Upstream::plain(|_, wire| {
        std::thread::sleep(Duration::from_millis(S3));
        wire.answer("200 OK", "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>")
    });
    let appliance = Builder::new(&mlflow)
        .with(&["--artifact-store", "s3://bucket/team", "--s3-endpoint", &s3.url()])
        .with_admin()
        .start();
    assert_eq!(appliance.get("/api/2.0/mlflow/runs/get?run_id=run").status, 200);
    // A listing asks MLflow for the location, and S3 for the objects.
    assert_eq!(appliance.get("/api/2.0/mlflow/artifacts/list?run_id=run").status, 200);
    assert_eq!(appliance.get("/a/../b").status, 400, "this one reaches neither");
    after(&appliance, 3);
    let document = status(&appliance);
    let traffic = &document["targets"][0]["traffic"];
    assert_eq!(traffic["answered"], 2);
    let time = |key: &str| traffic["time"][key].as_f64().unwrap();
    assert!(time("mlflow_ms") >= 2.0 * MLFLOW as f64, "{traffic}");
    assert!(time("s3_ms") >= S3 as f64, "{traffic}");
    assert!(time("appliance_ms") < time("mlflow_ms"), "S3's time is not the appliance's: {traffic}");
    assert!(
        traffic["median_ms"].as_f64().unwrap() >= 50.0,
        "what MLflow did not answer has no response time: {traffic}"
    );
    let hour = &document["hour"];
    for key in ["appliance_ms", "mlflow_ms", "s3_ms", "bodies_ms"] {
        let sum: f64 = hour["time"][key].as_array().unwrap().iter().map(|step| step.as_f64().unwrap()).sum();
        assert!((sum - time(key)).abs() < 0.1, "{key}: {sum} {traffic}");
    }
    assert_eq!(hour["requests"].as_array().unwrap().len(), hour["answered"].as_array().unwrap().len());
}

#[test]
fn credentials_show_a_failure_only_after_a_failed_renewal() {
    let upstream = Upstream::ok();
    // A quarter of this life is the time in which the renewal is due.
    let (sts, is_up) = sts(8);
    let appliance = Builder::new(&upstream)
        .with(&["--role-arn", ROLE])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .with_admin()
        .start();
    let credentials = || status(&appliance)["targets"][0]["credentials"].clone();
    assert_eq!((&credentials()["held"], &credentials()["failure"]), (&true.into(), &Value::Null));
    AtomicBool::store(&is_up, false, Ordering::SeqCst);
    eventually("a renewal has failed", || credentials()["failure"].is_string());
    AtomicBool::store(&is_up, true, Ordering::SeqCst);
    eventually("a renewal has succeeded", || credentials()["failure"].is_null() && credentials()["held"] == true);
}

#[test]
fn the_configuration_and_the_tokens_that_end_soon_are_shown() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    tokens.add("ci", "write", &["--expires", "90d"]);
    let boss = tokens.add("boss", "admin", &[]);
    tokens.add("visitor", "read", &["--expires", "10d"]);
    // This token is years old, so that the last two weeks of its life are soon.
    let text = tokens.text();
    let (before, after_key) = text.rsplit_once("created = \"").unwrap();
    let (_, rest) = after_key.split_once('"').unwrap();
    std::fs::write(tokens.path(), format!("{before}created = \"2020-01-01T00:00:00Z\"{rest}")).unwrap();
    let appliance = Builder::new(&upstream)
        .with(&["--deny", "experiments:delete@write,webhooks:*", "--allowed-hosts", "mlflow.corp"])
        .with(&["--artifact-store", "s3://bucket/team"])
        .with_tokens(&tokens)
        .with_admin()
        .start();
    let fields = [("Authorization", &*boss.bearer())];
    assert_eq!(appliance.connect().request("GET", "/version", &fields, None).status, 200);
    after(&appliance, 1);
    let document = status(&appliance);
    let configuration = &document["configuration"];
    assert_eq!(configuration["deny"], json!(["experiments:delete@write", "webhooks:*"]));
    assert_eq!(configuration["allowed_hosts"], json!(["mlflow.corp"]));
    assert_eq!((&configuration["tls"], &configuration["allowed_networks"]), (&false.into(), &false.into()));
    let methods: Vec<_> =
        configuration["authentication"].as_array().unwrap().iter().map(|one| &one["method"]).collect();
    assert_eq!(methods, ["token"]);
    assert_eq!((&configuration["tokens"]["valid"], &configuration["tokens"]["expired"]), (&3.into(), &0.into()));
    let ending = configuration["tokens"]["ending"].as_array().unwrap();
    assert_eq!((ending.len(), &ending[0]["name"], &ending[0]["role"]), (1, &"visitor".into(), &"read".into()));
    assert_eq!(document["targets"][0]["artifact_store"], "s3://bucket/team/");
    assert_eq!(document["certificate"], Value::Null);
    let row = row(&document, "boss", "token");
    assert!(row["tokens"]["first_expires"].as_f64().unwrap() > document["now"].as_f64().unwrap(), "{row}");
}

#[test]
fn ten_thousand_callers_take_bounded_memory_and_a_bounded_document() {
    const CALLERS: u64 = 10_000;
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (builder, _directory) = configured(&upstream, &balancer.keys.url());
    let appliance = builder.env("APPLIANCE_WORKERS", "2").with_admin().start();
    let next = AtomicUsize::new(0);
    let run = |upto: u64| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut caller = appliance.connect();
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst) as u64;
                        if number >= upto {
                            break;
                        }
                        let name = format!("user-with-a-name-of-a-usual-length-{number}@corp.example");
                        let word = balancer.say(&header("", &Value::Null), &json!({"sub": name}));
                        let answer = caller.request("GET", WEBHOOKS, &[("x-amzn-oidc-data", &word)], None);
                        assert_eq!(answer.status, 403, "only admins see webhooks");
                    }
                });
            }
        });
        next.store(usize::try_from(upto).unwrap(), Ordering::SeqCst);
    };
    run(1_000);
    let (size, resident) = (appliance.admin("/status.json").body.len(), appliance.resident());
    run(CALLERS);
    let document = status(&appliance);
    let rows = document["callers"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 200);
    let sum = |key: &str| {
        rows.iter().chain([&document["callers"]["others"]]).map(|row| row[key].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("requests"), sum("rejected")), (CALLERS, CALLERS), "none is lost");
    assert!(document["failures"].as_array().unwrap().len() <= 50);
    let later = appliance.admin("/status.json").body.len();
    let grown = appliance.resident().saturating_sub(resident);
    figure(&format!(
        "status.json with {CALLERS} callers: {later} bytes (with 1,000: {size}); memory grew by {} KiB",
        grown / 1024
    ));
    assert!(later < 150_000 && later < size + size / 4, "{later} {size}");
    // The limits of callers remember 10,000 names on purpose; that is most of the growth.
    assert!(grown < 16 << 20, "{grown}");
}
