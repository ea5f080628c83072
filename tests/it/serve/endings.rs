//! The ends of responses: a caller can tell a complete response from a truncated one, with any version of HTTP on either
//! side.

use std::io;

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::authority::authority;
use crate::support::caller::Caller;
use crate::support::http2::Http2;
use crate::support::http2_caller::{Http2Caller, tls, with_tls};
use crate::support::upstream::{Recorded, Upstream, Wire};

/// The end of a response that a caller must observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole(&'static str),
    Cut,
}

use Ending::{Cut, Whole};

/// A path of the upstream, what an answer to `GET` is, and whether its length is known.
type Case = (&'static str, Ending, bool);

const OVER_HTTP2: &[Case] = &[
    ("/end/data", Whole("abcdef"), false),
    ("/end/data.6", Whole("abcdef"), true),
    ("/end/empty", Whole("abcdef"), false),
    ("/end/empty.6", Whole("abcdef"), true),
    ("/end/middle", Whole("abcdef"), false),
    ("/end/middle.6", Whole("abcdef"), true),
    ("/end/trailers", Whole("abcdef"), false),
    ("/end/trailers.6", Whole("abcdef"), true),
    ("/end/headers", Whole(""), false),
    ("/end/headers.0", Whole(""), true),
    ("/end/nothing", Whole(""), false),
    ("/end/nothing.0", Whole(""), true),
    ("/end/short.6", Cut, true),
    ("/end/headers.6", Cut, true),
    ("/end/reset", Cut, false),
    ("/end/reset.6", Cut, true),
    ("/end/cancel", Cut, false),
    ("/end/no-error", Cut, false),
    ("/end/no-error.6", Cut, true),
    ("/end/goaway", Cut, false),
    ("/end/goaway.6", Cut, true),
    ("/end/close", Cut, false),
    ("/end/close.6", Cut, true),
];

const OVER_HTTP1: &[Case] = &[
    ("/length", Whole("abcdef"), true),
    ("/chunked", Whole("abcdef"), false),
    ("/pieces", Whole("abcdef"), false),
    ("/trailers", Whole("abcdef"), false),
    ("/close", Whole("abcdef"), false),
    ("/no-length", Whole(""), true),
    ("/no-chunks", Whole(""), false),
    ("/length-cut", Cut, true),
    ("/length-reset", Cut, true),
    ("/chunked-cut", Cut, false),
    ("/chunked-reset", Cut, false),
    ("/chunked-broken", Cut, false),
    ("/close-reset", Cut, false),
];

fn over_http1(request: &Recorded, wire: &mut Wire) -> io::Result<()> {
    let ok = |fields: &str, rest: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}\r\n{rest}");
    let chunked = |rest: &str| ok("Transfer-Encoding: chunked\r\n", rest);
    let pause = |wire: &mut Wire, bytes: String| {
        wire.send(bytes)?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok::<_, io::Error>(())
    };
    match request.target.as_str() {
        "/length" => wire.send(ok("Content-Length: 6\r\n", "abcdef")),
        "/chunked" => wire.send(chunked("6\r\nabcdef\r\n0\r\n\r\n")),
        "/pieces" => {
            for piece in [chunked(""), "3\r".into(), "\nab".into(), "c\r\n3\r\ndef".into(), "\r\n0\r\n".into()] {
                pause(wire, piece)?;
            }
            wire.send("\r\n")
        }
        "/trailers" => wire.send(chunked("6\r\nabcdef\r\n0\r\nX-Checksum: 1\r\n\r\n")),
        "/close" => {
            wire.send(ok("", "abcdef"))?;
            Err(wire.close())
        }
        "/no-length" => wire.send(ok("Content-Length: 0\r\n", "")),
        "/no-chunks" => wire.send(chunked("0\r\n\r\n")),
        "/length-cut" => {
            pause(wire, ok("Content-Length: 6\r\n", "abc"))?;
            Err(wire.close())
        }
        "/length-reset" => {
            pause(wire, ok("Content-Length: 6\r\n", "abc"))?;
            Err(wire.reset())
        }
        "/chunked-cut" => {
            pause(wire, chunked("3\r\nabc\r\n"))?;
            Err(wire.close())
        }
        "/chunked-reset" => {
            pause(wire, chunked("3\r\nabc\r\n"))?;
            Err(wire.reset())
        }
        "/chunked-broken" => {
            pause(wire, chunked("3\r\nabc\r\n"))?;
            wire.send("nonsense\r\n")
        }
        // The connection ends without the `close_notify` of TLS.
        "/close-reset" => {
            pause(wire, ok("", "abc"))?;
            Err(wire.reset())
        }
        other => panic!("{other}"),
    }
}

/// Returns the end of a response that a caller with HTTP/1.1 or HTTP/1.0 observes.
fn heard(mut caller: Caller, version: &str, path: &str, is_sized: bool) -> Result<String, io::Error> {
    caller.send(format!("GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n"))?;
    let answer = caller.answer(false)?;
    if version == "1.0" {
        assert!(!answer.has("transfer-encoding"), "{path}: {answer:?}");
        assert_eq!(answer.has("content-length"), is_sized, "{path}: {answer:?}");
    }
    Ok(answer.text())
}

fn check(appliance: &Appliance, secure: &Appliance, cases: &[Case]) {
    for &(path, ending, is_sized) in cases {
        let expect = |what: &str, heard: Result<String, String>| match (ending, heard) {
            (Whole(body), Ok(heard)) => assert_eq!(heard, body, "{what} {path}"),
            (Cut, Err(_)) => {}
            (ending, heard) => panic!("{what} {path}: {heard:?} instead of {ending:?}"),
        };
        for version in ["1.1", "1.0"] {
            let plain = heard(appliance.connect(), version, path, is_sized);
            expect(&format!("HTTP/{version}"), plain.map_err(|error| error.to_string()));
            let caller = Caller::connect_with_tls(secure.address(), tls(&["http/1.1"]));
            let encrypted = heard(caller, version, path, is_sized);
            expect(&format!("HTTP/{version} over TLS"), encrypted.map_err(|error| error.to_string()));
        }
        let answer = Http2Caller::connect(secure.address()).request("GET", path);
        let text = answer.map(|answer| String::from_utf8(answer.body).unwrap());
        expect("HTTP/2", text.map_err(|error| error.to_string()));
        assert!(!appliance.has_panicked(), "{path}");
    }
}

#[test]
fn each_end_of_a_response_over_http2_is_reported() {
    let upstream = Http2::start();
    let appliance = Builder::to(&upstream.url()).start();
    let (secure, _directory) = with_tls(Builder::to(&upstream.url()));
    check(&appliance, &secure, OVER_HTTP2);
}

#[test]
fn each_end_of_a_response_over_http1_is_reported() {
    let upstream = Upstream::with_tls(authority().server("localhost", &["http/1.1"]), over_http1);
    let appliance = Builder::new(&upstream).start();
    let (secure, _directory) = with_tls(Builder::new(&upstream));
    check(&appliance, &secure, OVER_HTTP1);
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    let upstream = Http2::start();
    let (secure, _directory) = with_tls(Builder::to(&upstream.url()));
    let mut caller = Http2Caller::connect(secure.address());
    for (method, path, status, length) in [
        ("HEAD", "/end/data", 200, None),
        ("HEAD", "/end/data.6", 200, Some("6")),
        ("GET", "/end/204", 204, None),
        ("GET", "/end/304", 304, None),
        ("GET", "/end/304.6", 304, Some("6")),
        ("GET", "/_appliance/healthz", 200, Some("15")),
    ] {
        let answer = caller.request(method, path).unwrap();
        let told = answer.headers.get("content-length").map(|value| value.to_str().unwrap());
        assert_eq!((answer.status, told), (status, length), "{method} {path}");
        assert!(answer.body.is_empty() || path == "/_appliance/healthz");
        for version in ["1.1", "1.0"] {
            let mut caller = Caller::connect_with_tls(secure.address(), tls(&["http/1.1"]));
            caller.send(format!("{method} {path} HTTP/{version}\r\nHost: localhost\r\n\r\n")).unwrap();
            let answer = caller.answer(method == "HEAD").unwrap();
            assert_eq!(answer.status, status, "{method} {path}");
            assert!(!answer.has("transfer-encoding"), "{method} {path}: {answer:?}");
        }
    }
    secure.saw("a whole answer to HEAD", |event| event["method"] == "HEAD" && event["outcome"] == "complete");
}

#[test]
fn an_http10_client_gets_no_chunks_and_may_keep_its_connection() {
    let upstream = Upstream::plain(|request, wire| {
        match request.target.as_str() {
        "/chunked" => wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "/switch" => wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        "/interim" => wire.send(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        _ => wire.answer("200 OK", "ok"),
    }
    });
    let appliance = Appliance::before(&upstream);
    for (path, start) in [("/interim", "HTTP/1.0 200 OK\r\n"), ("/switch", "HTTP/1.0 502 Bad Gateway\r\n")] {
        let mut caller = appliance.connect();
        caller.send(format!("GET {path} HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")).unwrap();
        let all = String::from_utf8(caller.rest().unwrap()).unwrap();
        assert!(all.starts_with(start), "no interim answer comes before: {all}");
    }
    assert_eq!(appliance.get("/switch").status, 502);
    let mut caller = appliance.connect();
    for _ in 0..2 {
        for path in ["/known", "/interim"] {
            let expect = "Expect: 100-continue\r\nContent-Length: 2\r\n";
            caller.send(format!("POST {path} HTTP/1.0\r\nConnection: keep-alive\r\n{expect}\r\n{{}}")).unwrap();
            let answer = caller.answer(false).unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!((answer.header("connection"), answer.text().as_str()), ("keep-alive", "ok"));
        }
    }
    for connection in ["close", "keep-alive"] {
        let mut caller = appliance.connect();
        caller.send(format!("GET /chunked HTTP/1.0\r\nConnection: {connection}\r\n\r\n")).unwrap();
        let answer = caller.answer(false).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc"), "the end of the connection ends it");
        assert!(!answer.has("transfer-encoding") && !answer.has("content-length"), "{answer:?}");
        assert!(answer.all("connection").iter().all(|value| *value == "close"), "{answer:?}");
    }
}
