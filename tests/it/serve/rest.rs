//! Connections that rest: after ten seconds without a request they hold less memory, and a client notices nothing.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::eventually;
use crate::support::http2_caller::{tls, with_tls};
use crate::support::upstream::Upstream;

const GET: &str = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
const RESTS: &str = "a connection rests";
/// Longer than the interval at which the appliance looks for connections that are to rest.
const INTERVAL: Duration = Duration::from_millis(1500);

/// The number of times that a connection began to rest.
fn rested(appliance: &Appliance) -> usize {
    appliance.log().matches(RESTS).count()
}

#[track_caller]
fn ask(caller: &mut Caller, what: &str) {
    caller.send(GET).unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200, "{what}");
}

#[test]
fn a_connection_that_rests_serves_the_next_request_and_loses_no_byte_of_it() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--log-filter", "debug"]).start();
    let mut idle: Vec<Caller> = (0..3).map(|_| appliance.connect()).collect();
    for caller in &mut idle {
        ask(caller, "the first request");
    }
    // The beginning of the next request came with the first one.
    let mut begun = appliance.connect();
    let (beginning, end) = GET.split_at(10);
    begun.send([GET, beginning].concat()).unwrap();
    assert_eq!(begun.answer(false).unwrap().status, 200);
    // The same behind empty lines, which end as a head does, and may come before a request.
    let mut blank = appliance.connect();
    blank.send([GET, "\r\n\r\n"].concat()).unwrap();
    assert_eq!(blank.answer(false).unwrap().status, 200);
    // A body with a length has an end as well.
    let mut logging = appliance.connect();
    let post = |caller: &mut Caller| {
        caller.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{ }\n").unwrap();
        assert_eq!(caller.answer(false).unwrap().status, 200);
    };
    post(&mut logging);
    // A body may contain what looks like the end of a head.
    let mut posted = appliance.connect();
    let body = "GET /x HTTP/1.1\r\n\r\n";
    posted
        .send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .unwrap();
    assert_eq!(posted.answer(false).unwrap().status, 200);

    eventually("the connections rest", || rested(&appliance) >= 5);
    // The others have been idle for as long.
    thread::sleep(INTERVAL);
    assert_eq!(rested(&appliance), 5, "all but the one with a beginning, and the one whose body looks like a head");
    let before = upstream.requests().len();
    for caller in &mut idle {
        for _ in 0..3 {
            ask(caller, "after a rest");
        }
    }
    begun.send(end).unwrap();
    assert_eq!(begun.answer(false).unwrap().status, 200, "the request that had begun");
    ask(&mut blank, "after empty lines");
    ask(&mut posted, "after a body");
    post(&mut logging);
    post(&mut logging);
    assert_eq!(upstream.requests().len(), before + 3 * 3 + 5);
    // The head of a request may come in pieces after a rest.
    eventually("all rest", || rested(&appliance) == 5 + 7);
    let (beginning, end) = GET.split_at(20);
    idle[0].send(beginning).unwrap();
    thread::sleep(Duration::from_millis(300));
    idle[0].send(end).unwrap();
    assert_eq!(idle[0].answer(false).unwrap().status, 200);
}

#[test]
fn a_connection_that_rests_ends_with_its_idle_time_or_with_the_appliance() {
    let upstream = Upstream::ok();
    let mut appliance = Builder::new(&upstream).with(&["--log-filter", "debug", "--keep-alive", "14s"]).start();
    let mut idle = appliance.connect();
    ask(&mut idle, "the first request");
    let began = Instant::now();
    eventually("the connection rests", || rested(&appliance) == 1);
    idle.wait_for(Duration::from_secs(10));
    assert!(idle.rest().unwrap().is_empty(), "the connection ends");
    let idle_time = began.elapsed();
    assert!((Duration::from_secs(13)..Duration::from_secs(17)).contains(&idle_time), "{idle_time:?}");

    let mut idle = appliance.connect();
    ask(&mut idle, "another connection");
    eventually("it rests as well", || rested(&appliance) == 2);
    let began = Instant::now();
    appliance.signal(Signal::TERM);
    assert!(idle.rest().unwrap().is_empty(), "the connection ends");
    assert!(appliance.ended().success());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_connection_with_tls_rests_and_serves_the_next_request() {
    let upstream = Upstream::ok();
    let (appliance, _directory) = with_tls(Builder::new(&upstream).with(&["--log-filter", "debug"]));
    let mut caller = Caller::connect_with_tls(appliance.address(), tls(&["http/1.1"]));
    ask(&mut caller, "the first request");
    eventually("the connection rests", || rested(&appliance) == 1);
    for _ in 0..3 {
        ask(&mut caller, "after a rest");
    }
}
