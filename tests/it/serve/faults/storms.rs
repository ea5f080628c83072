//! An overloaded upstream: its responses are forwarded as they are, and retries do not add to its load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::appliance::Appliance;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, figure};

/// More than open a circuit.
const STORM: usize = 40;

#[test]
fn each_429_and_503_of_a_busy_upstream_is_forwarded_without_a_retry() {
    for (status, line) in
        [(429, "429 Too Many Requests"), (503, "503 Service Unavailable"), (500, "500 Internal Server Error")]
    {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let upstream = Upstream::start(move |_, wire| {
            if count.fetch_add(1, Ordering::SeqCst) < STORM {
                wire.send(format!("HTTP/1.1 {line}\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nstorm"))
            } else {
                wire.send(OK)
            }
        });
        let appliance = Appliance::before(&upstream);
        let mut caller = appliance.connect();
        for number in 0..STORM {
            let method = ["GET", "POST", "PUT"][number % 3];
            let answer = caller.request(method, "/x", &[], Some(b"{}"));
            assert_eq!((answer.status, answer.text().as_str()), (status, "storm"), "{number}");
            assert_eq!(answer.header("retry-after"), "7", "the upstream knows best");
            assert!(!answer.has("x-appliance-error"), "it is the upstream's answer");
        }
        assert_eq!(upstream.requests().len(), STORM, "one attempt each");
        assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200, "no circuit is open when it is over");
        assert_eq!(upstream.requests().len(), STORM + 1);
    }
    figure(&format!("storms: {} refusals passed on, one attempt each; healed at once", 3 * STORM));
}

#[test]
fn the_retry_budget_bounds_the_load_on_a_failing_upstream() {
    const REQUESTS: usize = 400;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let is_sick = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let sick = Arc::clone(&is_sick);
    let upstream = Upstream::start(move |_, wire| {
        count.fetch_add(1, Ordering::SeqCst);
        if sick.load(Ordering::SeqCst) { Err(wire.close()) } else { wire.send(OK) }
    });
    let appliance = Appliance::before(&upstream);
    let began = std::time::Instant::now();
    let mut caller = appliance.connect();
    for number in 0..REQUESTS {
        let answer = caller.get("/x");
        assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-closed"), "{number}");
    }
    let retries = seen.load(Ordering::SeqCst) - REQUESTS;
    // Twenty that were saved, a tenth of the requests, and one for each second that it took.
    let allowed = 20 + REQUESTS / 10 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((20..=allowed).contains(&retries), "{retries} retries of {REQUESTS} requests, {allowed} are allowed");
    is_sick.store(false, Ordering::SeqCst);
    assert_eq!(caller.get("/x").status, 200, "healed");
    figure(&format!("retry allowance: {REQUESTS} requests failed, {retries} were tried again ({allowed} allowed)"));
}
