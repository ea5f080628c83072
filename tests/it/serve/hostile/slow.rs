//! Slow callers: every wait for one has a limit, and other callers are not affected.

use std::io;
use std::time::{Duration, Instant};

use super::echo;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::{Answer, Caller};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, figure};

/// The limit of every wait here: all limits are set to a second, and the longest is the sum of three.
const BOUND: Duration = Duration::from_secs(8);
const FIRST: &str = "GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn impatient(upstream: &Upstream) -> Appliance {
    let limits = ["--head-timeout", "1s", "--keep-alive", "1s", "--body-idle-timeout", "1s"];
    Builder::new(upstream).with(&limits).start()
}

/// Sends `piece` again and again until the connection ends, and says how long that took and what was heard last.
#[track_caller]
fn drip(what: &str, mut caller: Caller, piece: &[u8]) -> (Duration, Option<Answer>) {
    let began = Instant::now();
    caller.wait_for(Duration::from_millis(100));
    let mut last = None;
    loop {
        assert!(began.elapsed() < BOUND, "{what}: still open after {BOUND:?}");
        let _ = caller.send(piece);
        match caller.answer(false) {
            Ok(answer) => last = Some(answer),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    (began.elapsed(), last)
}

#[test]
fn a_caller_that_sends_a_byte_at_a_time_is_disconnected() {
    let upstream = echo();
    let appliance = impatient(&upstream);
    let chunked = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let cases = [
        ("the first head", String::new(), "GET /x HTTP/1.1\r\nHost: localhost\r\nX-A: ".to_owned(), "b", Some(408)),
        ("the first head, by empty lines", String::new(), "\r\n".to_owned(), "\r\n", Some(408)),
        ("the head of a second request", FIRST.to_owned(), "GET /x HTTP/1.1\r\nX-A: ".to_owned(), "b", None),
        ("a second head, by headers", FIRST.to_owned(), "GET /x HTTP/1.1\r\n".to_owned(), "X: a\r\n", None),
        ("a second head, by empty lines", FIRST.to_owned(), "\r\n".to_owned(), "\r\n", None),
        ("a chunk's extension", String::new(), format!("{}2;", chunked("/x")), "a", Some(408)),
        ("a chunk's size", String::new(), chunked("/x"), "0", Some(408)),
        ("a trailer", String::new(), format!("{}0\r\nX-A: ", chunked("/x")), "a", Some(408)),
        ("a length that is not filled", String::new(), content("/x"), "", Some(408)),
        ("chunks after a rejected path", String::new(), chunked("/a/../b"), "1\r\na\r\n", Some(400)),
        ("a length after a rejected path", String::new(), content("/a/../b"), "a", Some(400)),
        ("a trailer after a rejected path", String::new(), format!("{}0\r\nX-A: ", chunked("/a/../b")), "a", Some(400)),
    ];
    let mut longest = Duration::ZERO;
    let count = cases.len();
    std::thread::scope(|scope| {
        let running = cases.map(|(what, before, start, piece, expected)| {
            let appliance = &appliance;
            scope.spawn(move || {
                let mut caller = appliance.connect();
                if !before.is_empty() {
                    caller.send(before).unwrap();
                    assert_eq!(caller.answer(false).unwrap().status, 200, "{what}");
                }
                caller.send(start).unwrap();
                let (time, last) = drip(what, caller, piece.as_bytes());
                assert_eq!(last.map(|answer| answer.status), expected, "{what}");
                time
            })
        });
        longest = running.into_iter().map(|drip| drip.join().unwrap()).max().unwrap();
    });
    assert!(upstream.requests().iter().all(|seen| seen.target == "/first"), "{:?}", upstream.requests());
    figure(&format!(
        "slow callers: {count} ways to drip, the longest held its connection for {longest:.1?}, limits of 1 s"
    ));
}

fn content(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
}

#[test]
fn an_idle_connection_stays_open_for_the_configured_time() {
    let upstream = echo();
    let appliance = Builder::new(&upstream).with(&["--head-timeout", "1s", "--keep-alive", "30s"]).start();
    let mut caller = appliance.connect();
    for wait in [0, 1500, 2500] {
        std::thread::sleep(Duration::from_millis(wait));
        assert_eq!(caller.get("/x").status, 200, "after {wait} ms");
    }
}

#[test]
fn two_hundred_half_open_connections_affect_no_other_request() {
    let upstream = echo();
    let appliance = Appliance::before(&upstream);
    let before = appliance.resident();
    let held: Vec<Caller> = (0..200)
        .map(|number| {
            let mut caller = appliance.connect();
            if number % 2 == 0 {
                caller.send(FIRST).unwrap();
                assert_eq!(caller.answer(false).unwrap().header("x-echo"), "/first");
            }
            caller.send("GET /half HTTP/1.1\r\nHost: local").unwrap();
            caller
        })
        .collect();
    let began = Instant::now();
    assert_eq!(appliance.connect().request("POST", "/x", &[], Some(b"{}")).status, 200);
    let took = began.elapsed();
    let grown = appliance.resident().saturating_sub(before) >> 10;
    assert!(took < Duration::from_secs(2), "{took:?}");
    figure(&format!("{} half-open connections: {grown} KiB more, the next request took {took:.1?}", held.len()));
    assert!(upstream.requests().iter().all(|seen| seen.target != "/half"));
}
