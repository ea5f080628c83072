//! An upstream that closes the connection at any point: an unsafe request gets one attempt, and the next request succeeds.

use std::thread;
use std::time::Duration;

use crate::support::appliance::Appliance;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, figure};

/// For each reset: its place, the bytes that were sent before it, and true if the caller can have seen the head of the response.
const PLACES: [(&str, &str, bool); 6] = [
    ("before the head", "", false),
    ("in the first line", "HTTP/1.1 2", false),
    ("in the head", "HTTP/1.1 200 OK\r\nContent-Len", false),
    ("after the head", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", true),
    ("in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal", true),
    ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal", true),
];

#[test]
fn a_connection_that_ends_at_any_point_causes_no_duplicate_and_the_next_request_succeeds() {
    let upstream = Upstream::start(|request, wire| {
        let Some(fault) = request.target.strip_prefix("/fault/") else { return wire.send(OK) };
        let (number, ending) = fault.split_once('/').unwrap();
        wire.send(PLACES[number.parse::<usize>().unwrap()].1)?;
        // So that the reset does not overtake it.
        thread::sleep(Duration::from_millis(20));
        Err(if ending == "reset" { wire.reset() } else { wire.close() })
    });
    let appliance = Appliance::before(&upstream);
    let (mut faults, mut attempts) = (0, 0);
    for (number, (place, _, has_head)) in PLACES.into_iter().enumerate() {
        for ending in ["close", "reset"] {
            for (method, is_repeated) in
                [("GET", true), ("PUT", true), ("POST", false), ("PATCH", false), ("DELETE", false)]
            {
                let case = format!("{method}, {ending} {place}");
                let before = upstream.requests().len();
                let mut caller = appliance.connect();
                caller
                    .send(format!(
                        "{method} /fault/{number}/{ending} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
                    ))
                    .unwrap();
                let answer = caller.answer(false);
                if has_head {
                    assert!(answer.is_err(), "half an answer is none: {case}: {answer:?}");
                } else {
                    let answer = answer.unwrap();
                    assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-closed"), "{case}");
                }
                let tried = upstream.requests().len() - before;
                assert_eq!(tried, if is_repeated && !has_head { 2 } else { 1 }, "{case}");
                (faults, attempts) = (faults + 1, attempts + tried);
                assert_eq!(appliance.connect().request("POST", "/after", &[], Some(b"{}")).status, 200, "after {case}");
            }
        }
    }
    let after = upstream.requests().iter().filter(|request| request.target == "/after").count();
    assert_eq!(after, faults, "each of the requests in between was sent once");
    figure(&format!(
        "resets: {faults} answers broken off, {attempts} attempts, no POST, PATCH or DELETE twice; all healed"
    ));
}

#[test]
fn a_body_that_the_upstream_has_read_halfway_is_not_sent_again() {
    for (method, expected) in [("POST", 1), ("PUT", 2)] {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let begun = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&begun);
        thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                use std::io::Read as _;
                // The head and some of the 8 MiB, and then a reset: there is more to be read.
                let _ = stream.read_exact(&mut vec![0; 100_000]);
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        let appliance = crate::support::appliance::Builder::to(&url).start();
        let answer = appliance.connect().request(method, "/x", &[], Some(&vec![b'a'; 8 << 20]));
        assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-closed"), "{method}");
        assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), expected, "{method}");
    }
}

#[test]
fn bytes_after_a_response_are_never_taken_for_the_next_response() {
    let upstream = Upstream::start(|request, wire| {
        if request.target == "/talkative" {
            wire.send([OK, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"].concat())
        } else {
            wire.send(OK)
        }
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    for number in 0..50 {
        assert_eq!(caller.request("POST", "/talkative", &[], Some(b"{}")).text(), "{}", "{number}");
        assert_eq!(caller.request("POST", "/next", &[], Some(b"{}")).text(), "{}", "{number}");
    }
    assert_eq!(upstream.requests().len(), 100, "each was sent once");
}

#[test]
fn an_upstream_that_stops_reading_a_large_body_causes_a_504_in_time() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    // The kernel accepts the connection, and no program reads from it.
    let appliance = crate::support::appliance::Builder::to(&url).with(&["--upstream-response-timeout", "1s"]).start();
    let began = std::time::Instant::now();
    let answer = appliance.connect().request("PUT", "/x", &[], Some(&vec![b'a'; 16 << 20]));
    assert_eq!((answer.status, answer.header("x-appliance-error")), (504, "upstream-timeout"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(server);
}
