//! Targets behind one endpoint: they share its connections, and nothing else.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::caller::Caller;
use crate::support::gate::Gate;
use crate::support::http2::Http2;
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::{OK, Recorded, Upstream};
use crate::support::{Message as _, eventually};

const ARN_HEADER: &str = "x-mlflow-sm-tracking-server-arn";
/// The longest time that a request may take if it waits for no other request.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The target that a request names.
fn target(request: &Recorded) -> String {
    request.header(ARN_HEADER).rsplit('/').next().unwrap().to_owned()
}

/// A configuration with targets of these names behind one endpoint. Its directory is kept for as long as the appliance runs.
fn configured(url: &str, names: &[&str], more: &str) -> (Builder, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let table = |name: &&str| {
        let arn = TRACKING_ARN.replace("ts1", name);
        format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{url}\"\n{more}")
    };
    let trust = format!("ca-file = \"{}\"\n", authority().file().display());
    std::fs::write(&file, trust + &names.iter().map(table).collect::<String>()).unwrap();
    (Builder::from_file(&file), directory)
}

/// Begins a request to a target, and returns the connection on which its response will come.
fn begin(appliance: &Appliance, target: &str, token: Option<&Token>) -> Caller {
    let mut caller = appliance.connect();
    let authorization = token.map(|token| format!("Authorization: {}\r\n", token.bearer())).unwrap_or_default();
    caller.send(format!("GET /t/{target}/held HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n")).unwrap();
    caller
}

#[test]
fn twenty_targets_open_as_many_connections_as_one() {
    let gate = Gate::default();
    let wait = gate.clone();
    let upstream = Upstream::start(move |request, wire| {
        if request.target == "/held" {
            wait.wait();
        }
        wire.send(OK)
    });
    let names: Vec<String> = (0..20).map(|number| format!("team-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (builder, _directory) = configured(&upstream.url(), &names, "");
    let appliance = builder.with_admin().start();
    let mut caller = appliance.connect();
    for name in &names {
        assert_eq!(caller.get(&format!("/t/{name}/version")).status, 200);
    }
    assert_eq!(upstream.connections(), 1, "one request after the other");
    let named: BTreeSet<String> = upstream.requests().iter().map(target).collect();
    assert_eq!(named.len(), names.len(), "each request names its target");

    for round in 0..3 {
        let before = upstream.requests().len();
        let mut callers: Vec<_> =
            names.iter().skip(6 * round).take(6).map(|name| begin(&appliance, name, None)).collect();
        eventually("six requests are under way", || upstream.requests().len() == before + 6);
        gate.open(6);
        for caller in &mut callers {
            assert_eq!(caller.answer(false).unwrap().status, 200);
        }
    }
    assert_eq!(upstream.connections(), 6, "six requests at a time, each time to other targets");
    let endpoint = upstream.authority();
    let scrape = appliance.metrics();
    assert_eq!(scrape.count("appliance_upstream_connections_open", &[("endpoint", &endpoint)]), 6);
    let opened = [("endpoint", endpoint.as_str()), ("result", "opened")];
    assert_eq!(scrape.count("appliance_upstream_connections_total", &opened), 6);
}

#[test]
fn fifty_targets_share_one_connection_of_http2() {
    let upstream = Http2::start();
    let names: Vec<String> = (0..50).map(|number| format!("team-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (builder, _directory) = configured(&upstream.url(), &names, "");
    let appliance = builder.start();
    thread::scope(|scope| {
        for name in &names {
            let appliance = &appliance;
            scope.spawn(move || assert_eq!(appliance.get(&format!("/t/{name}/held")).text(), "held"));
        }
        eventually("all are under way", || upstream.seen().len() == 50);
        upstream.open(50);
    });
    let seen = upstream.seen();
    let named: BTreeSet<_> = seen.iter().map(|seen| seen.headers[ARN_HEADER].as_bytes()).collect();
    assert_eq!((seen.len(), named.len(), upstream.connections()), (50, 50, 1));
}

#[test]
fn the_artifacts_of_targets_with_one_s3_endpoint_share_its_connections() {
    let (mlflow, s3) = (Upstream::ok(), Upstream::plain(|_, wire| wire.send(OK)));
    let store = format!("artifact-store = \"s3://bucket/mlflow\"\ns3-endpoint = \"{}\"\n", s3.url());
    let (builder, _directory) = configured(&mlflow.url(), &["one", "two", "three"], &store);
    let appliance = builder.start();
    for name in ["one", "two", "three"] {
        assert_eq!(appliance.get(&format!("/t/{name}/api/2.0/mlflow-artifacts/artifacts/x")).status, 200);
    }
    assert_eq!((s3.requests().len(), s3.connections()), (3, 1));
}

#[test]
fn slow_targets_leave_connections_to_the_others_behind_their_endpoint() {
    const CONNECTIONS: usize = 4;
    let gates: [Gate; 3] = Default::default();
    let held = gates.clone();
    let upstream = Upstream::start(move |request, wire| {
        if let Some(number) = target(request).strip_prefix("slow-") {
            held[number.parse::<usize>().unwrap()].wait();
        }
        wire.send(OK)
    });
    let tokens = TokenFile::new();
    let callers: Vec<Token> = (0..8).map(|number| tokens.add(&format!("caller-{number}"), "admin", &[])).collect();
    let (builder, _directory) = configured(&upstream.url(), &["slow-0", "slow-1", "slow-2", "quick"], "");
    let appliance = builder.with_tokens(&tokens).with(&["--upstream-connections", &CONNECTIONS.to_string()]).start();
    let count = |name: &str| upstream.requests().iter().filter(|request| target(request) == name).count();

    // Each target has eight callers, who together ask for more than one target can have.
    let mut waiting = Vec::new();
    // Of the eight connections for several targets, each target gets half of those that the earlier ones have left.
    for (name, share) in [("slow-0", 4), ("slow-1", 2), ("slow-2", 1)] {
        waiting.extend(callers.iter().map(|token| begin(&appliance, name, Some(token))));
        eventually("the target uses its share", || count(name) == share);
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(["slow-0", "slow-1", "slow-2"].map(count), [4, 2, 1], "no target takes more than its share");
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(begin(&appliance, "quick", Some(&callers[0])).answer(false).unwrap().status, 200);
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    assert!(upstream.connections() <= 2 * CONNECTIONS, "{} connections", upstream.connections());

    // A connection that one slow target gives back goes to the target that holds fewest.
    gates[0].open(1);
    eventually("the target with one connection gets another", || count("slow-2") == 2);
    assert_eq!((count("slow-0"), count("slow-1")), (4, 2));
    for gate in &gates {
        gate.open(100);
    }
    for caller in &mut waiting {
        assert_eq!(caller.answer(false).unwrap().status, 200);
    }
}

#[test]
fn a_target_gets_no_more_streams_of_http2_than_its_share() {
    // One request at a time on each of the eight connections that a worker opens.
    let upstream = Http2::with_stream_limit(1);
    let (builder, _directory) = configured(&upstream.url(), &["slow", "quick"], "");
    let appliance = builder.start();
    assert_eq!(appliance.get("/t/quick/x").status, 200, "the upstream's limit is known from now on");
    thread::scope(|scope| {
        let slow: Vec<_> = (0..20).map(|_| scope.spawn(|| appliance.get("/t/slow/held").status)).collect();
        eventually("the slow target uses its share", || upstream.most_at_once() >= 4);
        // None of the other target's requests ends meanwhile.
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(appliance.get("/t/quick/x").status, 200);
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        }
        upstream.open(20);
        for one in slow {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    assert!(upstream.connections() <= 8, "{} connections", upstream.connections());
    assert!((4..=5).contains(&upstream.most_at_once()), "{} requests at once", upstream.most_at_once());
}

#[test]
fn a_target_that_fails_has_its_own_circuit_breaker() {
    let gate = Gate::default();
    let wait = gate.clone();
    let upstream = Upstream::start(move |request, wire| match target(request).as_str() {
        "silent" => {
            wait.wait();
            wire.send(OK)
        }
        "failing" => wire.answer("503 Service Unavailable", "no"),
        _ => wire.send(OK),
    });
    let (builder, _directory) = configured(&upstream.url(), &["silent", "failing", "well"], "");
    let appliance = builder.with(&["--upstream-response-timeout", "200ms"]).with_admin().start();
    eventually("the circuit of the silent target opens", || appliance.get("/t/silent/x").status == 503);
    for _ in 0..10 {
        let failing = appliance.get("/t/failing/x");
        assert_eq!((failing.status, failing.text().as_str()), (503, "no"), "the target's own response");
        assert_eq!(appliance.get("/t/well/x").status, 200);
    }
    let scrape = appliance.metrics();
    for (name, open) in [("silent", 1), ("failing", 0), ("well", 0)] {
        assert_eq!(scrape.count("appliance_upstream_circuit_open", &[("target", name)]), open, "{name}");
    }
    gate.open(100);
}
