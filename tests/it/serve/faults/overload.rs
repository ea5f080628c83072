//! Load shedding: requests that would wait too long for a target are rejected before their bodies are read.

use std::time::{Duration, Instant};

use crate::support::appliance::Builder;
use crate::support::caller::Caller;
use crate::support::gate::Gate;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, eventually, figure};

/// Connections to the upstream; four times as many requests of one caller may be on their way.
const CONNECTIONS: usize = 4;
const LIMIT: usize = 4 * CONNECTIONS;
/// The results that one caller gets.
const SHARE: usize = CONNECTIONS / 2;

/// An upstream that holds all responses back until the test opens its gate.
fn held() -> (Upstream, Gate) {
    let gate = Gate::default();
    let wait = gate.clone();
    let upstream = Upstream::start(move |_, wire| {
        wait.wait();
        wire.send(OK)
    });
    (upstream, gate)
}

#[test]
fn requests_over_the_in_flight_limit_are_rejected_early_and_those_that_wait_too_long_later() {
    let (upstream, gate) = held();
    let appliance = Builder::new(&upstream).with(&["--upstream-connections", &CONNECTIONS.to_string()]).start();
    let mut waiting: Vec<Caller> = (0..LIMIT)
        .map(|_| {
            let mut caller = appliance.connect();
            caller.send("POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            caller
        })
        .collect();
    eventually("the connections are in use", || upstream.requests().len() == SHARE);
    let began = Instant::now();
    let mut refused = 0;
    eventually("there is no more room", || {
        // The client sends only the head: a rejected request needs no body.
        let mut caller = appliance.connect();
        caller.send("POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        caller.wait_for(Duration::from_millis(300));
        let Ok(answer) = caller.answer(false) else { return false };
        assert_eq!((answer.status, answer.header("x-appliance-error")), (429, "overloaded"));
        assert_eq!(answer.json()["error_code"], "REQUEST_LIMIT_EXCEEDED");
        answer.header("retry-after").parse::<u32>().expect("seconds");
        refused += 1;
        refused == 20
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(appliance.get("/_appliance/healthz").status, 200, "the appliance itself is well");

    // Those that wait for a connection do so for ten seconds.
    for caller in &mut waiting[SHARE..] {
        let answer = caller.answer(false).unwrap();
        assert_eq!((answer.status, answer.header("x-appliance-error")), (429, "overloaded"));
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    gate.open(SHARE + LIMIT);
    for caller in &mut waiting[..SHARE] {
        assert_eq!(caller.answer(false).unwrap().status, 200);
    }
    for caller in &mut waiting {
        assert_eq!(caller.request("POST", "/after", &[], Some(b"{}")).status, 200, "there is room again");
    }
    assert_eq!(upstream.requests().len(), SHARE + LIMIT, "what was turned away was never sent");
    figure(&format!(
        "overload: {refused} turned away at once, {} after waiting for ten seconds, {SHARE} answered; healed",
        LIMIT - SHARE
    ));
}

#[test]
fn callers_that_send_slowly_do_not_count_against_the_in_flight_limit() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--upstream-connections", "1"]).start();
    let _slow: Vec<Caller> = (0..50)
        .map(|_| {
            let mut caller = appliance.connect();
            caller.send("POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegun").unwrap();
            caller
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(appliance.connect().request("POST", "/quick", &[], Some(b"{}")).status, 200);
    }
}
