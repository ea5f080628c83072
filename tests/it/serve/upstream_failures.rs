//! Failures of the upstream: a caller gets either the true response or a clear error.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::appliance::{Appliance, Builder};
use crate::support::authority::authority;
use crate::support::caller::Answer;
use crate::support::gate::Gate;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, eventually};

#[track_caller]
fn assert_failure(answer: &Answer, status: u16, kind: &str, code: &str) {
    assert_eq!((answer.status, answer.header("x-appliance-error")), (status, kind), "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error_code"], code, "{body}");
    assert_eq!(body["request_id"], answer.header("x-appliance-request-id"));
}

#[test]
fn an_unreachable_upstream_causes_a_502() {
    let closed = Builder::to("https://127.0.0.1:1").start();
    assert_failure(&closed.get("/x"), 502, "upstream-unreachable", "TEMPORARILY_UNAVAILABLE");
    let unknown = Builder::to("https://no-such-host.invalid").start();
    assert_failure(&unknown.get("/x"), 502, "upstream-unresolved", "TEMPORARILY_UNAVAILABLE");
}

#[test]
fn an_upstream_with_an_untrusted_certificate_causes_a_502() {
    let elsewhere = Upstream::with_tls(authority().server("elsewhere.example", &[]), |_, wire| wire.send(OK));
    let appliance = Builder::new(&elsewhere).start();
    assert_failure(&appliance.get("/x"), 502, "upstream-tls", "TEMPORARILY_UNAVAILABLE");
    assert_eq!(elsewhere.requests().len(), 0, "nothing is sent to an untrusted server");

    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let appliance = Builder::to(&url).start();
    assert_failure(&appliance.get("/x"), 502, "upstream-tls", "TEMPORARILY_UNAVAILABLE");
}

#[test]
fn an_upstream_that_does_not_respond_causes_a_504_in_time() {
    let upstream = Upstream::start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let appliance = Builder::new(&upstream).with(&["--upstream-response-timeout", "1s"]).start();
    let began = Instant::now();
    assert_failure(&appliance.get("/x"), 504, "upstream-timeout", "DEADLINE_EXCEEDED");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn an_upstream_that_does_not_complete_the_tls_handshake_causes_a_504() {
    // Accepts in the kernel, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let appliance = Builder::to(&url).with(&["--upstream-handshake-timeout", "1s"]).start();
    assert_failure(&appliance.get("/x"), 504, "upstream-timeout", "DEADLINE_EXCEEDED");
}

#[test]
fn an_upstream_that_does_not_speak_http_causes_a_502() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("SSH-2.0-OpenSSH_9.9\r\n\r\n")?;
        Err(wire.close())
    });
    let appliance = Appliance::before(&upstream);
    assert_failure(&appliance.get("/x"), 502, "upstream-invalid", "TEMPORARILY_UNAVAILABLE");
}

#[test]
fn a_request_on_a_closed_connection_is_retried_only_if_that_is_safe() {
    for (method, attempts) in [("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1), ("DELETE", 1)] {
        let upstream = Upstream::start(|_, wire| Err(wire.close()));
        let appliance = Appliance::before(&upstream);
        let answer = appliance.connect().request(method, "/x", &[], Some(b"{}"));
        assert_failure(&answer, 502, "upstream-closed", "TEMPORARILY_UNAVAILABLE");
        assert_eq!(upstream.requests().len(), attempts, "{method}");
    }
}

#[test]
fn a_get_on_a_reset_connection_is_retried() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_, wire| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Err(wire.reset()),
        _ => wire.send(OK),
    });
    let appliance = Appliance::before(&upstream);
    assert_eq!(appliance.get("/x").status, 200);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].target, requests[1].target);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used_again() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let upstream = Upstream::start(move |_, wire| {
        wire.send(OK)?;
        let end = wire.close();
        count.fetch_add(1, Ordering::SeqCst);
        Err(end)
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    for number in 1..=5 {
        assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200);
        // Let the end of the connection arrive, as it would between two requests of a person.
        eventually("the connection has ended", || closed.load(Ordering::SeqCst) == number);
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (5, 5));
}

#[test]
fn a_truncated_response_never_looks_complete() {
    type Ending = fn(&mut crate::support::upstream::Wire) -> io::Error;
    let endings: [(&str, Ending); 2] = [("closed", |wire| wire.close()), ("reset", |wire| wire.reset())];
    let heads = [
        ("sized", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
    ];
    for (framing, head) in heads {
        for (how, end) in endings {
            let upstream = Upstream::start(move |_, wire| {
                wire.send(head)?;
                thread::sleep(Duration::from_millis(50));
                Err(end(wire))
            });
            let appliance = Appliance::before(&upstream);
            let mut caller = appliance.connect();
            caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let answer = caller.answer(false);
            assert!(answer.is_err(), "{framing}, {how}: {answer:?}");
            eventually("it is in the log", || {
                appliance.access_log().iter().any(|event| event["outcome"] == "truncated")
            });
        }
    }
}

#[test]
fn a_stalled_response_is_truncated_visibly() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let appliance = Builder::new(&upstream).with(&["--upstream-idle-timeout", "1s"]).start();
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let began = Instant::now();
    assert!(caller.answer(false).is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_caller_that_disconnects_frees_the_upstream_connection() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            wire.send("1\r\na\r\n")?;
            thread::sleep(Duration::from_millis(5));
        }
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    caller.head().unwrap();
    drop(caller);
    eventually("the request is over", || appliance.access_log().iter().any(|event| event["outcome"] == "caller-gone"));
}

#[test]
fn unanswered_requests_of_one_caller_do_not_block_others() {
    let gate = Gate::default();
    let wait = gate.clone();
    let upstream = Upstream::start(move |_, wire| {
        wait.wait();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    });
    let appliance = Appliance::before(&upstream);
    // More than are opened at once.
    let mut callers: Vec<_> = (0..30).map(|_| appliance.connect()).collect();
    for caller in &mut callers {
        caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    eventually("all are on their way", || upstream.requests().len() == 30);
    gate.open(30);
    for mut caller in callers {
        assert_eq!(caller.answer(false).unwrap().text(), "late");
    }
}

#[test]
fn a_request_does_not_wait_long_for_the_handshakes_of_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Without HTTP/2 there is no question of who asks for it first.
    let options = ["--upstream-handshake-timeout", "1s", "--upstream-http2=false"];
    let appliance = Builder::to(&url).with(&options).start();
    // More than shake hands at once.
    let mut callers: Vec<_> = (0..30).map(|_| appliance.connect()).collect();
    let began = Instant::now();
    for caller in &mut callers {
        caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    for mut caller in callers {
        assert_failure(&caller.answer(false).unwrap(), 504, "upstream-timeout", "DEADLINE_EXCEEDED");
    }
    // Each shakes hands for a second and once more; eight at a time, the last would have waited for eight seconds.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
