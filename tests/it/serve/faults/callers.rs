//! Callers that read slowly or disconnect: they affect no other caller, and leave neither connections nor memory behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::appliance::Builder;
use crate::support::upstream::{OK, Upstream};
use crate::support::{eventually, figure, settled};

const ROUNDS: usize = 50;
const LARGE: usize = 64 << 20;

#[test]
fn a_slow_reader_holds_no_memory_and_gets_the_whole_response() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let upstream = Upstream::start(move |request, wire| {
        if request.target != "/large" {
            return wire.send(OK);
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
        let piece = vec![b'a'; 64 << 10];
        (0..LARGE / piece.len()).try_for_each(|_| {
            counter.fetch_add(1, Ordering::Relaxed);
            wire.send(&piece)
        })
    });
    let appliance = Builder::new(&upstream).start();
    assert_eq!(appliance.get("/x").status, 200);
    let before = appliance.resident();
    let mut slow: Vec<_> = (0..10)
        .map(|_| {
            let mut caller = appliance.connect();
            caller.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            caller
        })
        .collect();
    eventually("all are on their way", || upstream.requests().len() == 11);
    settled("the upstream can send no more", || sent.load(Ordering::Relaxed));
    let grown = appliance.resident().saturating_sub(before) >> 20;
    for _ in 0..20 {
        assert_eq!(appliance.connect().request("POST", "/x", &[], Some(b"{}")).status, 200, "others do not notice");
    }
    assert!(grown < 32, "grew by {grown} MiB for 10 answers of {} MiB", LARGE >> 20);
    for caller in &mut slow {
        assert_eq!(caller.answer(false).unwrap().body.len(), LARGE, "and in the end it is all there");
    }
    figure(&format!("slow readers: 10 answers of {} MiB unread, {grown} MiB more; all read in the end", LARGE >> 20));
}

#[test]
fn callers_that_disconnect_leave_no_connection_and_no_memory_behind() {
    let upstream = Upstream::start(|request, wire| match request.target.as_str() {
        "/endless" => {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                wire.send("1\r\na\r\n")?;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "/silent" => {
            std::thread::sleep(Duration::from_secs(3));
            wire.send(OK)
        }
        _ => wire.send(OK),
    });
    // Two thirds of it are one caller's share, which the upload between two rounds needs whole.
    let budget = ["--body-memory-limit", "1 KiB", "--body-disk-budget", "1500 KiB"];
    // Responses whose callers have gone leave connections in the pool, which are closed after this idle time.
    let appliance = Builder::new(&upstream).with(&budget).with(&["--upstream-keep-alive", "1s"]).start();
    assert_eq!(appliance.get("/x").status, 200);
    let before = appliance.descriptors();
    let mut reached = 0;
    for round in 0..ROUNDS {
        let mut caller = appliance.connect();
        match round % 3 {
            0 => {
                caller.send("PUT /never HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n").unwrap();
                caller.send(vec![b'a'; 500_000]).unwrap();
            }
            1 => {
                caller.send("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                caller.head().unwrap();
                reached += 1;
            }
            _ => {
                caller.send("GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                reached += 1;
                eventually("it is asked", || upstream.requests().len() == 1 + reached);
            }
        }
        drop(caller);
        // Only if the budget is free again is there room for this one.
        eventually("the next upload has room", || {
            appliance.connect().request("PUT", "/next", &[], Some(&vec![b'a'; 1_000_000])).status == 200
        });
        reached += 1;
    }
    // The kernel may still accept a short response to a caller that has gone.
    let left = |path: &str, outcomes: &[&str]| {
        let is_meant =
            |event: &&serde_json::Value| event["path"] == path && outcomes.iter().any(|one| event["outcome"] == *one);
        appliance.access_log().iter().filter(is_meant).count()
    };
    eventually("all are in the log", || {
        let gone = left("/never", &["complete", "caller-gone"]) + left("/endless", &["caller-gone"]);
        gone + left("/silent", &["complete", "caller-gone"]) == ROUNDS
    });
    assert!(
        upstream.requests().iter().all(|request| request.target != "/never"),
        "a truncated body is never forwarded"
    );
    eventually("descriptors are given back", || {
        assert_eq!(appliance.get("/x").status, 200);
        appliance.descriptors() <= before + 4
    });
    figure(&format!(
        "callers gone: {ROUNDS} left in the middle, descriptors {before} before and {} after",
        appliance.descriptors()
    ));
}
