//! The responses of the upstream: the appliance forwards them with status, headers and bytes, at the moment when they arrive.

use std::sync::{Arc, Mutex, mpsc};

use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Appliance, Builder};
use crate::support::upstream::{OK, Upstream};

#[test]
fn responses_are_forwarded_with_status_headers_and_bytes() {
    let upstream = Upstream::start(|request, wire| {
        wire.send(match request.target.as_str() {
            "/several" => b"HTTP/1.1 200 Fine\r\nX-Several: a\r\nX-Several: b\r\nETag: \"1\"\r\nServer: uvicorn\r\n\
                  Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nx-amzn-RequestId: aws-1\r\nSet-Cookie: a=1\r\n\
                  Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
                  Access-Control-Expose-Headers: x-several\r\nTiming-Allow-Origin: *\r\nClear-Site-Data: \"*\"\r\n\
                  NEL: {}\r\nReport-To: {}\r\nReporting-Endpoints: a=\"https://a.example\"\r\n\
                  Strict-Transport-Security: max-age=1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi"
                .as_slice(),
            "/gzip" => b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
            "/error" => b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{\"a\"}",
            "/range" => b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nab",
            "/redirect-away" => {
                b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/x\r\nContent-Length: 0\r\n\r\n"
            }
            "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "/empty" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => OK,
        })
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();

    let several = caller.get("/several");
    assert_eq!(several.all("x-several"), ["a", "b"]);
    assert_eq!((several.header("etag"), several.header("server")), ("\"1\"", "uvicorn"));
    assert_eq!(several.header("date"), "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_eq!(several.header("x-amzn-requestid"), "aws-1");
    for dropped in [
        "set-cookie",
        "strict-transport-security",
        "keep-alive",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "timing-allow-origin",
        "clear-site-data",
        "nel",
        "report-to",
        "reporting-endpoints",
    ] {
        assert!(several.all(dropped).is_empty(), "{dropped}");
    }
    assert_eq!(several.header("x-appliance-request-id").len(), 24);

    let gzip = caller.get("/gzip");
    assert_eq!((gzip.header("content-encoding"), gzip.body.as_slice()), ("gzip", b"\x1f\x8b\x08\x00".as_slice()));
    let error = caller.get("/error");
    assert_eq!((error.status, error.text().as_str()), (404, "{\"a\"}"));
    assert!(error.all("x-appliance-error").is_empty(), "the upstream's own answer is not ours");
    let range = caller.request("GET", "/range", &[("Range", "bytes=0-1")], None);
    assert_eq!((range.status, range.header("content-range"), range.text().as_str()), (206, "bytes 0-1/9", "ab"));
    assert_eq!(upstream.requests().last().unwrap().header("range"), "bytes=0-1");
    assert_eq!(caller.get("/redirect-away").header("location"), "/x", "only a path of the appliance");
    let chunked = caller.get("/chunked");
    assert_eq!((chunked.header("transfer-encoding"), chunked.text().as_str()), ("chunked", "abc"));
    assert_eq!(caller.get("/empty").header("content-length"), "0");
    assert_eq!(caller.get("/after").status, 200, "the connection is still usable");
}

#[test]
fn a_response_with_a_transfer_encoding_that_is_not_understood_is_rejected() {
    let upstream = Upstream::start(|request, wire| {
        let (version, coding) = request.target[1..].split_once('/').unwrap();
        wire.send(format!("HTTP/{version} 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nab\r\n0\r\n\r\n"))?;
        Err(wire.close())
    });
    let appliance = Appliance::before(&upstream);
    for target in ["/1.1/identity", "/1.1/gzip", "/1.1/chunked,gzip", "/1.0/identity", "/1.0/chunked", "/1.0/gzip"] {
        let got = appliance.get(target);
        assert_eq!((got.status, got.header("x-appliance-error")), (502, "upstream-invalid"), "{target}");
    }
    assert_eq!(appliance.get("/1.1/Chunked").text(), "ab");
    assert!(!appliance.has_panicked(), "{}", appliance.log());
}

#[test]
fn redirects_of_the_upstream_lead_back_to_the_appliance() {
    let upstream = Upstream::start(|request, wire| {
        let host = request.header("host");
        let same = format!("HTTP/1.1 302 Found\r\nLocation: https://{host}/next?a=b\r\nContent-Length: 0\r\n\r\n");
        let lookalike =
            format!("HTTP/1.1 302 Found\r\nLocation: https://{host}.evil.example/\r\nContent-Length: 0\r\n\r\n");
        wire.send(if request.target == "/same" { same } else { lookalike })
    });
    let appliance = Appliance::before(&upstream);
    assert_eq!(appliance.get("/same").header("location"), "/next?a=b");
    assert_eq!(appliance.get("/lookalike").header("location"), "/");
}

#[test]
fn responses_without_a_body_are_forwarded_without_one() {
    let upstream = Upstream::start(|request, wire| {
        wire.send(match (request.method.as_str(), request.target.as_str()) {
            ("HEAD", "/chunked") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
            ("HEAD", _) => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"h\"\r\n\r\n",
            (_, "/204") => b"HTTP/1.1 204 No Content\r\nETag: \"n\"\r\n\r\n",
            (_, "/304") => b"HTTP/1.1 304 Not Modified\r\nETag: \"m\"\r\nContent-Length: 99\r\n\r\n",
            _ => OK,
        })
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    let head = caller.request("HEAD", "/x", &[], None);
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, "1234", "\"h\""));
    let head = caller.request("HEAD", "/chunked", &[], None);
    assert!(head.all("content-length").is_empty(), "{:?}", head.headers);
    let empty = caller.get("/204");
    assert_eq!((empty.status, empty.header("etag")), (204, "\"n\""));
    assert!(empty.all("content-length").is_empty() && empty.all("transfer-encoding").is_empty());
    assert_eq!(upstream.connections(), 1);
    let unchanged = caller.request("GET", "/304", &[("If-None-Match", "\"m\"")], None);
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.header("content-length")), (304, "\"m\"", "99"));
    assert_eq!(caller.get("/after").text(), "{}", "nothing was left on the connection");
}

#[test]
fn events_of_a_stream_are_forwarded_one_by_one() {
    let (next, may_send) = mpsc::channel::<()>();
    let may_send = Arc::new(Mutex::new(may_send));
    let upstream = Upstream::start(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for number in 0..3 {
            wire.send(format!("9\r\ndata: {number}\n\n\r\n"))?;
            // The next event is sent only once this one has come out at the other end.
            may_send.lock().unwrap().recv().map_err(std::io::Error::other)?;
        }
        wire.send("0\r\n\r\n")
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("GET /gateway/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(caller.head().unwrap().header("content-type"), "text/event-stream");
    for number in 0..3 {
        assert_eq!(caller.chunk().unwrap().unwrap(), format!("data: {number}\n\n").into_bytes());
        next.send(()).unwrap();
    }
    assert_eq!(caller.chunk().unwrap(), None);
}

#[test]
fn a_response_that_ends_with_its_connection_is_forwarded_whole() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")?;
        Err(wire.close())
    });
    let appliance = Appliance::before(&upstream);
    assert_eq!(appliance.get("/x").text(), "until the end");
}

#[test]
fn a_403_is_forwarded_with_a_hint_that_names_the_iam_action() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 36\r\n\r\n{\"message\":\"Request not authorized\"}")
    });
    let appliance = Builder::new(&upstream).env("SM_MLFLOW_RESOURCE_ARN", APP_ARN).start();
    let answer = appliance.get("/api/2.0/mlflow/experiments/search");
    assert_eq!((answer.status, answer.text().as_str()), (403, "{\"message\":\"Request not authorized\"}"));
    assert!(answer.header("x-appliance-hint").contains("sagemaker:CallMlflowAppApi"));
}
