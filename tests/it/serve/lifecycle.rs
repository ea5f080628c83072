//! Start, draining and end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN, run};
use crate::support::http2::Http2;
use crate::support::http2_caller::{Http2Caller, with_tls};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, eventually, figure};

/// An upstream whose responses wait for a message.
fn held() -> (Upstream, mpsc::Sender<()>) {
    let (release, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::start(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
        wait.lock().unwrap().recv().map_err(std::io::Error::other)?;
        wire.send("-last")
    });
    (upstream, release)
}

#[test]
fn a_request_in_flight_is_finished_before_the_appliance_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let (upstream, release) = held();
        let mut appliance = Appliance::before(&upstream);
        let mut caller = appliance.connect();
        caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        eventually("the request has reached the upstream", || upstream.requests().len() == 1);
        appliance.signal(signal);
        eventually("the appliance drains", || appliance.log().contains("\"draining\""));
        release.send(()).unwrap();
        assert_eq!(caller.answer(false).unwrap().text(), "first-last");
        assert!(appliance.ended().success(), "{signal:?}");
        assert!(appliance.log().contains("\"stopped\""), "{}", appliance.log());
    }
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let upstream = Upstream::ok();
    let mut appliance = Appliance::before(&upstream);
    let mut idle = appliance.connect();
    assert_eq!(idle.get("/x").status, 200);
    let began = Instant::now();
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_request_that_exceeds_the_drain_timeout_is_aborted_and_counted() {
    let (upstream, _release) = held();
    let mut appliance = Builder::new(&upstream).with(&["--drain-timeout", "1s"]).start();
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    eventually("the request has reached the upstream", || upstream.requests().len() == 1);
    appliance.signal(Signal::TERM);
    assert!(appliance.ended().success());
    assert!(caller.answer(false).is_err());
    assert!(
        appliance
            .log()
            .contains("\"the drain timeout has passed, and the requests that still run are ended\",\"in_flight\":1"),
        "{}",
        appliance.log()
    );
}

#[test]
fn a_second_signal_ends_the_appliance_at_once() {
    let (upstream, _release) = held();
    let mut appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    eventually("the request has reached the upstream", || upstream.requests().len() == 1);
    appliance.signal(Signal::TERM);
    eventually("the appliance drains", || appliance.log().contains("\"draining\""));
    appliance.signal(Signal::TERM);
    let began = Instant::now();
    assert!(appliance.ended().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_port_in_use_is_a_configuration_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &address, "--resource-arn", TRACKING_ARN], &[]);
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("error: cannot listen on `{address}`")), "{message}");
    assert!(message.contains("hint: stop the program that listens there"), "{message}");
}

#[test]
fn the_first_response_takes_little_processor_time() {
    let upstream = Upstream::ok();
    let began = Instant::now();
    let appliance = Builder::new(&upstream).without_credentials().start();
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);
    // A busy machine changes the elapsed time, but not the processor time.
    let (took, worked) = (began.elapsed(), appliance.processor_time());
    figure(&format!("from start to first response: {} ms, {} ms of work", took.as_millis(), worked.as_millis()));
    assert!(worked < Duration::from_millis(400), "{worked:?}");
}

#[test]
fn an_idle_upstream_connection_is_closed_without_another_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = [0; 4096];
        assert_ne!(stream.read(&mut head).unwrap(), 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        stream.read(&mut head).unwrap()
    });
    let appliance = Builder::to(&url).with(&["--upstream-keep-alive", "1s"]).start();
    assert_eq!(appliance.get("/x").status, 200);
    assert_eq!(upstream.join().unwrap(), 0, "the connection ends without a second request");
}

#[test]
fn a_request_over_http2_is_finished_before_the_appliance_ends() {
    let upstream = Http2::start();
    let (mut appliance, _directory) = with_tls(Builder::to(&upstream.url()));
    let mut caller = Http2Caller::connect(appliance.address());
    assert_eq!(caller.request("GET", "/x").unwrap().status, 200);
    let head = http::Request::get("https://localhost/held").body(()).unwrap();
    let (answer, _) = caller.start(head, true);
    eventually("the request has reached the upstream", || {
        caller.go_on(Duration::from_millis(10));
        upstream.seen().len() == 2
    });
    appliance.signal(Signal::TERM);
    eventually("the appliance drains", || appliance.log().contains("\"draining\""));
    upstream.open(1);
    assert_eq!(caller.whole(answer).unwrap().body, b"held");
    caller.go_on(Duration::from_millis(100));
    let began = Instant::now();
    assert!(appliance.ended().success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "an idle connection does not delay the end: {:?}",
        began.elapsed()
    );
}

/// The number of times that the threads of a process were woken up.
fn wake_ups(process: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |status: String| {
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    tasks.map(|task| of(std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())).sum()
}

#[test]
fn a_new_connection_wakes_no_more_threads_if_there_are_more() {
    const CONNECTIONS: u64 = 100;
    let upstream = Upstream::ok();
    let mut figures = Vec::new();
    for workers in ["2", "16", "64"] {
        let appliance = Builder::new(&upstream).with(&["--workers", workers]).start();
        assert_eq!(appliance.get("/_appliance/healthz").status, 200);
        let before = wake_ups(appliance.id());
        for _ in 0..CONNECTIONS {
            assert_eq!(appliance.connect().get("/_appliance/healthz").status, 200);
        }
        figures.push((wake_ups(appliance.id()) - before) as f64 / CONNECTIONS as f64);
    }
    figure(&format!("wake-ups per new connection with 2, 16 and 64 workers: {figures:.1?}"));
    // A connection wakes the two threads that accept, and the one that serves it.
    assert!(figures.iter().all(|&wake_ups| wake_ups < 6.0), "{figures:?}");
}
