//! Requests whose answers take too long: the caller who sends them takes the target away from nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::appliance::{Appliance, Builder};
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, eventually};

/// Twice as many as open the circuit breaker.
const MANY: usize = 10;

fn before(upstream: &Upstream) -> Appliance {
    Builder::new(upstream).with(&["--upstream-response-timeout", "2s"]).with_admin().start()
}

/// An upstream that answers only some paths.
fn answering(answers: impl Fn(&str) -> bool + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request, wire| {
        if answers(&request.target) {
            return wire.send(OK);
        }
        // The appliance closes the connection before.
        thread::park_timeout(Duration::from_secs(20));
        Err(wire.close())
    })
}

/// Sends many requests at the same time, whose time is over at the same time, and does something else meanwhile.
fn many_slow(appliance: &Appliance, upstream: &Upstream, meanwhile: impl FnOnce()) {
    let before = upstream.requests().len();
    thread::scope(|scope| {
        let slow: Vec<_> = (0..MANY)
            .map(|_| scope.spawn(|| appliance.connect().request("POST", "/gateway/slow", &[], Some(b"{}"))))
            .collect();
        eventually("all are on their way", || upstream.requests().len() == before + MANY);
        meanwhile();
        for answer in slow.into_iter().map(|one| one.join().unwrap()) {
            assert_eq!((answer.status, answer.header("x-appliance-error")), (504, "upstream-timeout"));
        }
    });
}

fn is_open(appliance: &Appliance) -> bool {
    appliance.metrics().count("appliance_upstream_circuit_open", &[]) == 1
}

#[test]
fn slow_answers_do_not_open_the_circuit_breaker_while_others_are_answered() {
    let upstream = answering(|target| target != "/gateway/slow");
    let appliance = before(&upstream);
    for _ in 0..2 {
        many_slow(&appliance, &upstream, || assert_eq!(appliance.get("/version").status, 200));
        assert!(!is_open(&appliance), "{}", appliance.log());
        assert_eq!(appliance.get("/version").status, 200);
    }
}

#[test]
fn an_upstream_that_answers_nothing_opens_the_circuit_breaker() {
    let is_alive = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&is_alive);
    let upstream = answering(move |_| answers.load(Ordering::SeqCst));
    let appliance = before(&upstream);
    assert_eq!(appliance.get("/version").status, 200);
    is_alive.store(false, Ordering::SeqCst);
    // The last answer is too close to the beginning of the first ones to tell.
    eventually("the circuit opens", || {
        many_slow(&appliance, &upstream, || {});
        is_open(&appliance)
    });
    let got = appliance.get("/version");
    assert_eq!((got.status, got.header("x-appliance-error")), (503, "upstream-circuit-open"));
    is_alive.store(true, Ordering::SeqCst);
    eventually("it is found again", || appliance.get("/version").status == 200);
    assert!(!is_open(&appliance));
}
