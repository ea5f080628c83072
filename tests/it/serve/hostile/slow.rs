//! Callers that take their time, to hold what others need.

use std::time::{Duration, Instant};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::upstream::Upstream;

/// Sends bytes one by one until the other side ends the connection; returns how long that took.
fn drip(caller: &mut Caller, start: &str, limit: Duration) -> Duration {
    let began = Instant::now();
    caller.send(start).unwrap();
    caller.wait_for(Duration::from_millis(100));
    while began.elapsed() < limit {
        if caller.send("a").is_err() || caller.is_over() {
            break;
        }
    }
    began.elapsed()
}

fn start(upstream: &Upstream) -> Appliance {
    let limits = ["--head-timeout", "1s", "--keep-alive", "2s", "--body-idle-timeout", "1s"];
    Builder::new(upstream).with(&limits).start()
}

const HEAD: &str = "GET /slow HTTP/1.1\r\nHost: localhost\r\nX-A: ";
const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn a_head_that_drips_in_is_cut_off() {
    let upstream = Upstream::ok();
    let appliance = start(&upstream);
    let taken = drip(&mut appliance.connect(), HEAD, LIMIT);
    assert!(taken < Duration::from_secs(5), "the first request: {taken:?}");
    let mut kept = appliance.connect();
    assert_eq!(kept.get("/first").status, 200);
    let taken = drip(&mut kept, HEAD, LIMIT);
    assert!(taken < Duration::from_secs(6), "a later request: {taken:?}");
    assert_eq!(upstream.requests().iter().filter(|request| request.target == "/slow").count(), 0);
}

#[test]
fn a_body_that_stops_is_cut_off() {
    let upstream = Upstream::ok();
    let appliance = start(&upstream);
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"] {
        let mut caller = appliance.connect();
        caller.send(format!("POST /slow HTTP/1.1\r\nHost: localhost\r\n{head}")).unwrap();
        let began = Instant::now();
        let answer = caller.answer(false).unwrap();
        assert_eq!((answer.status, answer.header("x-appliance-error")), (408, "body-stalled"));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(upstream.requests().iter().filter(|request| request.target == "/slow").count(), 0);
}

#[test]
fn hundreds_who_say_nothing_do_not_keep_others_out() {
    let upstream = Upstream::ok();
    let appliance = start(&upstream);
    let silent: Vec<_> = (0..400)
        .map(|number| {
            let mut caller = appliance.connect();
            if number % 2 == 0 {
                caller.send(HEAD).unwrap();
            }
            caller
        })
        .collect();
    let began = Instant::now();
    assert_eq!(appliance.get("/quick").status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(silent);
}
