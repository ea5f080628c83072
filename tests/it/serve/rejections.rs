//! Requests that the appliance must reject: each gets a clear error and is never forwarded.

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::upstream::Upstream;

#[track_caller]
fn answer_to(appliance: &Appliance, bytes: &[u8]) -> Option<Answer> {
    let mut caller = appliance.connect();
    let _ = caller.send(bytes);
    caller.answer(false).ok()
}

#[test]
fn malformed_and_ambiguous_requests_never_reach_the_upstream() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let head = |fields: &str| format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let oversized = head(&format!("X-Big: {}\r\n", "a".repeat(200_000)));
    let many = head(&"X-Many: a\r\n".repeat(200));
    for (what, request, expected) in [
        ("absolute form", "GET http://elsewhere.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400][..]),
        ("absolute form, own host", "GET https://a/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
        (
            "CONNECT",
            "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n".to_owned(),
            &[400, 405],
        ),
        ("TRACE", "TRACE /x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[405]),
        ("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
        ("no host", "GET /x HTTP/1.1\r\n\r\n".to_owned(), &[400]),
        ("two hosts", head("Host: b\r\n"), &[400]),
        ("two lengths", head("Content-Length: 1\r\nContent-Length: 2\r\n"), &[400]),
        (
            "length and chunks",
            format!("{}0\r\n\r\n", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
            &[400],
        ),
        ("chunks not last", head("Transfer-Encoding: chunked, gzip\r\n"), &[400]),
        ("unknown coding", head("Transfer-Encoding: xchunked\r\n"), &[400]),
        ("negative length", head("Content-Length: -1\r\n"), &[400]),
        ("signed length", head("Content-Length: +1\r\n"), &[400]),
        ("folded header", head("X-Folded: a\r\n b\r\n"), &[400]),
        ("space before colon", head("X-Space : a\r\n"), &[400]),
        ("header without colon", head("nonsense\r\n"), &[400]),
        ("bad chunk size", format!("{}zz\r\n", head("Transfer-Encoding: chunked\r\n")), &[400]),
        ("two content types", head("Content-Type: a/b\r\nContent-Type: c/d\r\n"), &[400]),
        ("large head", oversized, &[400, 431]),
        ("many headers", many, &[400, 431]),
        ("not HTTP", "nonsense\r\n\r\n".to_owned(), &[400]),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400]),
        ("dot segment", "GET /api/../x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
        ("encoded dot segment", "GET /api/%2e%2E/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
        ("dots around an encoded slash", "GET /api/..%2fx HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
    ] {
        match answer_to(&appliance, request.as_bytes()) {
            Some(answer) => assert!(expected.contains(&answer.status), "{what}: {answer:?}"),
            None => panic!("{what}: the connection was cut without an answer"),
        }
    }
    assert_eq!(upstream.requests().len(), 0, "{:?}", upstream.requests());
    assert_eq!(appliance.get("/x").status, 200, "and the appliance goes on");
}

#[test]
fn a_proxy_error_is_json_that_mlflow_clients_understand() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let answer = appliance.get("/a/../b");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-appliance-error"), "bad-request");
    let body = answer.json();
    assert_eq!(body["error_code"], "BAD_REQUEST");
    assert!(body["message"].as_str().unwrap().contains("`..`"), "{body}");
    assert_eq!(body["request_id"], answer.header("x-appliance-request-id"));
}

#[test]
fn a_websocket_handshake_is_an_ordinary_request() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(appliance.connect().request("GET", "/ws", &handshake, None).status, 200);
    let seen = upstream.only_request();
    assert!(seen.all("upgrade").is_empty() && seen.all("connection").iter().all(|value| *value == "keep-alive"));
}

#[test]
fn a_websocket_handshake_with_a_body_does_not_swallow_the_next_request() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    for head in [
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
        "POST /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nContent-Length: 2\r\n\r\n{}",
        "PUT /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut caller = appliance.connect();
        caller.send(format!("{head}GET /of-another HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap();
        let answer = caller.answer(false).unwrap();
        assert_eq!((answer.status, answer.header("x-appliance-error")), (400, "bad-request"), "{head}");
        assert_eq!(caller.rest().unwrap(), b"", "what follows is not read: {head}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn requests_below_the_reserved_prefix_are_never_forwarded() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    assert_eq!(appliance.get("/_appliance/healthz").json()["status"], "ok");
    assert_eq!(appliance.get("/_appliance/readyz").json()["status"], "ready");
    assert_eq!(appliance.get("/_%61ppliance/healthz").json()["status"], "ok");
    for path in ["/_appliance", "/_appliance/", "/_appliance/other"] {
        let answer = appliance.get(path);
        assert_eq!((answer.status, answer.header("x-appliance-error")), (404, "no-such-page"), "{path}");
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(appliance.get("/health").text(), "{}", "MLflow keeps its own");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_caller_that_sends_its_head_too_slowly_is_disconnected() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--head-timeout", "1s"]).start();
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.1\r\nHost:").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 408);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn pages_of_other_sites_cannot_use_a_visitors_browser() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let ask = |method: &str, host: &str, fields: &str| {
        let mut caller = appliance.connect();
        let request = format!("{method} /x HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
        caller.send(request).unwrap();
        caller.answer(false).unwrap()
    };
    for (host, fields, kind) in [
        ("evil.example:5000", "", "foreign-host"),
        ("localhost:5000", "Origin: https://evil.example\r\n", "foreign-origin"),
        ("localhost:5000", "Origin: null\r\n", "foreign-origin"),
        ("localhost:5000", "Sec-Fetch-Site: cross-site\r\n", "foreign-origin"),
    ] {
        let answer = ask("POST", host, fields);
        assert_eq!((answer.status, answer.header("x-appliance-error")), (403, kind), "{host} {fields}");
        assert_eq!(answer.json()["error_code"], "PERMISSION_DENIED");
    }
    assert_eq!(upstream.requests().len(), 0);
    let own_page = ask("POST", "localhost:5000", "Origin: http://localhost:5000\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(own_page.status, 200);
    assert!(upstream.only_request().all("origin").is_empty(), "MLflow would refuse our origin");

    let named = Builder::new(&upstream).with(&["--allowed-hosts", "mlflow.corp"]).start();
    let mut caller = named.connect();
    caller.send("GET /x HTTP/1.1\r\nHost: mlflow.corp\r\n\r\n").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    let mut caller = named.connect();
    caller.send("GET /_appliance/healthz HTTP/1.1\r\nHost: 10.0.0.7\r\n\r\n").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200, "a load balancer asks by address");
}
