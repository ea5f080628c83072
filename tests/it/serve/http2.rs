//! HTTP/2 to an upstream that offers it.

use std::thread;

use crate::support::appliance::{Appliance, Builder, SESSION_TOKEN, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::http2::Http2;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, eventually};

fn before(upstream: &Http2) -> Appliance {
    Builder::to(&upstream.url()).start()
}

#[test]
fn a_request_is_the_same_over_http2() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let headers = [("Content-Type", "application/json"), ("Connection", "x-hop"), ("X-Hop", "1"), ("X-Kept", "1")];
    let answer = appliance.connect().request("POST", "/api/2.0/x?filter=a+b", &headers, Some(b"{\"a\":1}"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"received\":7}"));
    let seen = &upstream.seen()[0];
    assert_eq!(seen.uri.authority().unwrap().as_str(), upstream.authority());
    assert_eq!(seen.uri.path_and_query().unwrap().as_str(), "/api/2.0/x?filter=a%20b");
    assert_eq!(seen.headers["x-mlflow-sm-tracking-server-arn"], TRACKING_ARN);
    assert_eq!(seen.headers["x-amz-security-token"], SESSION_TOKEN);
    assert_eq!(
        (&seen.headers["x-kept"], &seen.headers["content-length"]),
        (&"1".parse().unwrap(), &"7".parse().unwrap())
    );
    for name in ["x-hop", "connection", "host", "date"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[test]
fn many_requests_share_a_connection() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(appliance.get("/held").text(), "held"));
        }
        eventually("all are under way", || upstream.seen().len() == 50);
        upstream.open(50);
    });
    assert_eq!((upstream.seen().len(), upstream.connections()), (50, 1));
}

#[test]
fn bodies_larger_than_any_window_arrive_in_both_directions() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let body = vec![b'y'; 6 << 20];
    let answer = appliance.connect().request("PUT", "/upload", &[], Some(&body));
    assert_eq!(answer.text(), format!("{{\"received\":{}}}", body.len()));
    let answer = appliance.get("/large");
    assert!(answer.body == vec![b'x'; 5 << 20], "{} bytes", answer.body.len());
}

#[test]
fn a_response_that_arrives_before_the_upload_is_complete_is_forwarded() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let answer = appliance.connect().request("PUT", "/early", &[], Some(&vec![b'y'; 8 << 20]));
    assert_eq!((answer.status, answer.text().as_str()), (413, "early"));
    assert!(answer.all("x-appliance-error").is_empty(), "it is the upstream's own");
}

#[test]
fn a_request_that_the_upstream_declares_unprocessed_is_retried_even_a_post() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let answer = appliance.connect().request("POST", "/refuse-once", &[], Some(b"{}"));
    assert_eq!((answer.status, upstream.seen().len()), (200, 2));
}

#[test]
fn a_connection_that_the_upstream_closes_is_replaced() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let mut caller = appliance.connect();
    assert_eq!(caller.get("/goaway").status, 200);
    for _ in 0..5 {
        assert_eq!(caller.request("POST", "/after", &[], Some(b"{}")).status, 200);
    }
    assert_eq!(upstream.connections(), 2);
    let stray: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.uri.path() == "/").collect();
    assert!(stray.is_empty(), "nothing is sent that no caller asked for: {stray:?}");
}

#[test]
fn a_reset_in_the_middle_of_a_response_truncates_it_visibly() {
    let upstream = Http2::start();
    let appliance = before(&upstream);
    let mut caller = appliance.connect();
    caller.send("GET /truncated HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(caller.answer(false).is_err());
    assert_eq!(appliance.get("/next").status, 200, "only that request is lost");
}

#[test]
fn http_1_1_is_used_unless_both_sides_want_http2() {
    let upstream = Http2::start();
    let appliance = Builder::to(&upstream.url()).with(&["--upstream-http2=false"]).start();
    assert_eq!(appliance.get("/x").status, 502, "this upstream speaks nothing else");
    let upstream = Upstream::with_tls(authority().server("localhost", &["http/1.1"]), |_, wire| wire.send(OK));
    let appliance = Builder::new(&upstream).start();
    for _ in 0..3 {
        assert_eq!(appliance.get("/x").status, 200);
    }
    assert_eq!(upstream.connections(), 1, "the connection that asked is the one that is used");
}
