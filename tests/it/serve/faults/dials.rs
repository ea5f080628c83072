//! Connections that cannot be added: requests use those that there are.

use std::time::Duration;

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::http2::Http2;
use crate::support::{PATIENCE, eventually};

fn begin(appliance: &Appliance, target: &str) -> Caller {
    let mut caller = appliance.connect();
    caller.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap();
    caller
}

/// An appliance whose only connection is full of responses that are not read.
fn full(handshake: &str) -> (Http2, Appliance, Vec<Caller>) {
    let upstream = Http2::with_one_connection(2);
    let appliance =
        Builder::to(&upstream.url()).with(&["--upstream-handshake-timeout", handshake]).with_admin().start();
    assert_eq!(appliance.get("/x").status, 200, "the limits of the upstream are known");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut caller = begin(&appliance, "/huge");
        assert_eq!(caller.head().unwrap().status, 200);
        held.push(caller);
    }
    assert_eq!(upstream.connections(), 1);
    (upstream, appliance, held)
}

#[test]
fn a_request_does_not_wait_for_the_dial_of_another_where_room_comes_free() {
    let (upstream, appliance, mut held) = full("60s");
    let _dialing = begin(&appliance, "/dialing");
    eventually("it dials", || upstream.connections() == 2);
    let mut other = begin(&appliance, "/other");
    eventually("both wait", || appliance.metrics().count("appliance_requests_in_flight", &[]) == 4);
    held.pop();
    assert_eq!(other.answer(false).unwrap().status, 200);
    assert_eq!(upstream.connections(), 2, "the other one still dials");
}

#[test]
fn a_request_whose_dial_fails_uses_a_connection_that_there_is() {
    let (upstream, appliance, mut held) = full("1s");
    let mut dialing = begin(&appliance, "/dialing");
    eventually("it dials", || upstream.connections() == 2);
    // Long enough for two dials, in which nothing may be said.
    dialing.wait_for(Duration::from_secs(4));
    assert!(dialing.head().is_err(), "it waits for room");
    held.pop();
    dialing.wait_for(PATIENCE);
    assert_eq!(dialing.answer(false).unwrap().status, 200);
}
