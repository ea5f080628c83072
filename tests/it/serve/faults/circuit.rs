//! The circuit breaker: requests to a target that is gone stop for a while, and resume by themselves.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, PATIENCE, eventually, figure};

#[track_caller]
fn assert_open(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.header("x-appliance-error")),
        (503, "upstream-circuit-open"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["error_code"], "TEMPORARILY_UNAVAILABLE");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
}

fn post(appliance: &Appliance) -> Answer {
    appliance.connect().request("POST", "/x", &[], Some(b"{}"))
}

#[test]
fn an_open_circuit_breaker_rejects_at_once_and_closes_by_itself() {
    let upstream = Upstream::plain(|_, wire| wire.send(OK));
    let appliance = Builder::to(&format!("http://{}", upstream.address())).with_admin().start();
    assert_eq!(post(&appliance).status, 200);
    assert_eq!(appliance.metrics().count("appliance_upstream_circuit_open", &[]), 0);
    upstream.stop();

    let mut failures = 0;
    eventually("the circuit opens", || {
        let answer = post(&appliance);
        if answer.status == 502 {
            assert_eq!(answer.header("x-appliance-error"), "upstream-unreachable");
            failures += 1;
        }
        answer.status == 503
    });
    assert!(
        (2..=5).contains(&failures),
        "{failures} requests, up to two attempts each, until five in a row had failed"
    );
    let began = Instant::now();
    for _ in 0..100 {
        assert_open(&post(&appliance));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "no request waits: {:?}", began.elapsed());
    assert_eq!(appliance.metrics().count("appliance_upstream_circuit_open", &[]), 1);
    let ready = appliance.get("/_appliance/readyz");
    assert_eq!(ready.status, 200, "no instance is better off without the others");
    assert_eq!(ready.json()["targets"]["default"], "ready, but the upstream cannot be reached");
    assert!(appliance.log().contains("the circuit breaker has opened"), "{}", appliance.log());

    let back = Upstream::at(
        upstream.address(),
        None,
        Arc::new(|_: &_, wire: &mut crate::support::upstream::Wire| wire.send(OK)),
    );
    let began = Instant::now();
    let mut accepted = 0;
    eventually("it is found again", || {
        accepted += usize::from(post(&appliance).status == 200);
        accepted > 0
    });
    let found = began.elapsed();
    assert!(found < Duration::from_secs(7), "{found:?}");
    for _ in 0..20 {
        assert_eq!(post(&appliance).status, 200, "and stays");
        accepted += 1;
    }
    assert_eq!(back.requests().len(), accepted, "no rejected request was sent, and each sent request arrived once");
    assert_eq!(appliance.get("/_appliance/readyz").json()["targets"]["default"], "ready");
    assert!(appliance.log().contains("the circuit breaker has closed"), "{}", appliance.log());
    figure(&format!(
        "circuit: open after {failures} failed requests, found again {found:.1?} after the upstream was back"
    ));
}

#[test]
fn an_open_circuit_breaker_sends_one_probe_at_a_time() {
    // Accepted, and never greeted: each attempt takes its second.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (sender, attempts) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            held.push(stream);
            sender.send(Instant::now()).unwrap();
        }
    });
    let appliance = Builder::to(&url).with(&["--upstream-handshake-timeout", "1s"]).start();
    eventually("the circuit opens", || appliance.get("/x").status == 503);
    while attempts.try_recv().is_ok() {}
    // Fifty callers ask until the request of one was the probe, and once more.
    let (began, is_over) = (Instant::now(), AtomicBool::new(false));
    let (mut open, mut probes) = (0, 0);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    loop {
                        let is_last = is_over.load(Ordering::SeqCst) || began.elapsed() > PATIENCE;
                        statuses.push(appliance.get("/x").status);
                        is_over.fetch_or(statuses.last() == Some(&504), Ordering::SeqCst);
                        if is_last {
                            return statuses;
                        }
                        thread::sleep(Duration::from_millis(100));
                    }
                })
            })
            .collect();
        for status in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
            match status {
                503 => open += 1,
                504 => probes += 1,
                other => panic!("{other}"),
            }
        }
    });
    let asked: Vec<_> = attempts.try_iter().map(|at| at - began).collect();
    assert_eq!((asked.len(), probes), (1, 1), "one connection, for one request: {asked:?}");
    assert!(asked[0] > Duration::from_secs(2), "four to five seconds after the circuit has opened: {asked:?}");
    figure(&format!("circuit: {open} requests refused in {:.1?}, one sent to find out", began.elapsed()));
}

#[test]
fn requests_that_wait_for_the_same_connection_fail_together() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let appliance = Builder::to(&url).with(&["--upstream-handshake-timeout", "1s"]).start();
    let began = Instant::now();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..50).map(|_| scope.spawn(|| post(&appliance).status)).collect();
        for status in callers.into_iter().map(|caller| caller.join().unwrap()) {
            assert!(matches!(status, 503 | 504), "{status}");
        }
    });
    let took = began.elapsed();
    // The request waits twice: for the attempt of another request, and for its own.
    assert!(took < Duration::from_secs(6), "{took:?}");
    figure(&format!("outage: 50 callers at once, limit of 1 s, the last one heard after {took:.1?}"));
}

#[test]
fn a_request_that_makes_the_upstream_close_connections_does_not_open_the_circuit_breaker() {
    let upstream = Upstream::start(|request, wire| match request.target.as_str() {
        "/poison" => Err(wire.close()),
        _ => wire.send(OK),
    });
    let appliance = Appliance::before(&upstream);
    for _ in 0..30 {
        assert_eq!(appliance.connect().request("POST", "/poison", &[], Some(b"{}")).status, 502);
    }
    assert_eq!(post(&appliance).status, 200);
}
