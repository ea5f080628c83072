//! The artifact gateway in front of an S3 whose behaviour the test defines.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::appliance::{Appliance, Builder, SECRET_ACCESS_KEY, SESSION_TOKEN};
use crate::support::upstream::{OK, Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually, figure};

pub(super) const SERVICE: &str = "/api/2.0/mlflow-artifacts";

pub(super) fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>no</Message></Error>")
}

pub(super) fn s3(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
    Upstream::plain(handler)
}

pub(super) fn gateway(mlflow: &Upstream, s3: &Upstream, arguments: &[&str]) -> Appliance {
    let store = ["--artifact-store", "s3://bucket/team/mlflow", "--s3-endpoint", &s3.url()].map(ToOwned::to_owned);
    Builder::new(mlflow).with(&store.each_ref().map(String::as_str)).with(arguments).start()
}

/// The path of a request to S3, without the signature.
pub(super) fn path(request: &Recorded) -> &str {
    request.target.split('?').next().unwrap()
}

#[test]
fn an_artifact_is_written_and_read_under_the_prefix() {
    let mlflow = Upstream::ok();
    let s3 = s3(|request, wire| match request.method.as_str() {
        "PUT" => wire.answer("200 OK", ""),
        _ => wire.send(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 1-3/5\r\nETag: \"e\"\r\n\
             Content-Type: text/html\r\nx-amz-id-2: internal\r\nSet-Cookie: a=b\r\n\r\nell",
        ),
    });
    let appliance = gateway(&mlflow, &s3, &[]);
    let mut caller = appliance.connect();
    let target = format!("{SERVICE}/artifacts/1/run/artifacts/a%20b%2B%23%2541.html");
    let put = caller.request("PUT", &target, &[("Content-Type", "text/html")], Some(b"hello"));
    assert_eq!((put.status, put.json()), (200, json!({})));
    let sent = s3.only_request();
    assert_eq!(
        (sent.method.as_str(), path(&sent)),
        ("PUT", "/bucket/team/mlflow/1/run/artifacts/a%20b%2B%23%2541.html")
    );
    assert_eq!(sent.body, b"hello");
    assert_eq!(sent.header("content-length"), "5");
    // SHA-256 of `hello`, which S3 checks before the object is there.
    assert_eq!(sent.header("x-amz-checksum-sha256"), "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
    for part in ["X-Amz-Signature=", "X-Amz-Security-Token=", "content-type%3Bhost%3Bx-amz-checksum-sha256"] {
        assert!(sent.target.contains(part), "{}", sent.target);
    }
    assert!(!sent.has("authorization") && !sent.has("x-mlflow-sm-tracking-server-arn"), "{sent:?}");

    let got = caller.request("GET", &target, &[("Range", "bytes=1-3"), ("If-Match", "\"e\""), ("Cookie", "c")], None);
    assert_eq!((got.status, got.text().as_str()), (206, "ell"));
    assert_eq!((got.header("content-range"), got.header("etag")), ("bytes 1-3/5", "\"e\""));
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"a b+#%41.html\"");
    assert_eq!((got.header("x-content-type-options"), got.header("content-security-policy")), ("nosniff", "sandbox"));
    assert!(!got.has("set-cookie") && !got.has("x-amz-id-2"), "{got:?}");
    let asked = s3.requests().pop().unwrap();
    assert_eq!((asked.header("range"), asked.header("if-match"), asked.has("cookie")), ("bytes=1-3", "\"e\"", false));
    assert_eq!(mlflow.requests().len(), 0, "managed MLflow has nothing to do with it");
    let log = appliance.log();
    assert!(!log.contains("X-Amz-Signature") && !log.contains(SESSION_TOKEN) && !log.contains(SECRET_ACCESS_KEY));
}

#[test]
fn a_large_artifact_that_is_not_hashed_arrives_whole_and_is_never_written_twice() {
    let mlflow = Upstream::ok();
    let s3 = s3(|request, wire| {
        if request.target.contains("busy") {
            wire.answer("503 Slow Down", error("SlowDown"))
        } else {
            wire.answer("200 OK", "")
        }
    });
    let appliance = gateway(&mlflow, &s3, &["--unsigned-payload"]);
    let body = vec![7; 3 << 20];
    let put = |name: &str| {
        appliance.connect().request("PUT", &format!("{SERVICE}/artifacts/1/run/{name}"), &[], Some(&body)).status
    };
    assert_eq!(put("large"), 200);
    let sent = s3.only_request();
    assert!(sent.body == body && sent.header("content-length") == "3145728");
    assert!(!sent.has("x-amz-checksum-sha256"), "the body is not hashed");
    assert_eq!((put("busy"), s3.requests().len()), (503, 2));
}

#[test]
fn no_spelling_of_a_path_leaves_the_prefix() {
    let mlflow = Upstream::ok();
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &[]);
    // Each on a connection of its own: one whose upload was refused unread is closed.
    for spelt in [
        "../other/key",
        "a/../../../other",
        "a/%2e%2e/b",
        "a/..%2f..%2fb",
        "%2E%2E%2F%2E%2E%2Fother",
        "a%5c..%5cb",
        "s3://other/key",
        "s3:%2F%2Fother%2Fkey",
        "https:%2f%2fevil%2f",
        "a//b",
        "a%2F%2Fb",
        "a%00b",
        "a%0d%0aHost:%20evil",
        "%ff%fe",
        &"x".repeat(1100),
    ] {
        for (method, below) in
            [("GET", "artifacts"), ("PUT", "artifacts"), ("DELETE", "artifacts"), ("GET", "presigned")]
        {
            let body = (method == "PUT").then_some(b"x".as_slice());
            let got = appliance.connect().request(method, &format!("{SERVICE}/{below}/{spelt}"), &[], body);
            assert_eq!(got.status, 400, "{method} {below}/{spelt}: {}", got.text());
        }
        for target in [format!("{SERVICE}/artifacts?path={spelt}"), format!("/get-artifact?run_id=1&path={spelt}")] {
            let got = appliance.get(&target);
            assert_eq!(got.status, 400, "{target}: {}", got.text());
        }
        let create = json!({"path": "file", "num_parts": 1}).to_string();
        let got =
            appliance.connect().request("POST", &format!("{SERVICE}/mpu/create/{spelt}"), &[], Some(create.as_bytes()));
        assert_eq!(got.status, 400, "mpu/create/{spelt}");
    }
    let create = json!({"path": "..", "num_parts": 1}).to_string();
    let got = appliance.connect().request("POST", &format!("{SERVICE}/mpu/create/a"), &[], Some(create.as_bytes()));
    assert_eq!((got.status, got.json()["error_code"].as_str()), (400, Some("INVALID_PARAMETER_VALUE")));
    assert_eq!(s3.requests().len(), 0, "S3 has seen none of it");
    assert_eq!(mlflow.requests().len(), 0, "nor has managed MLflow");

    // Characters that look like dots and slashes are ordinary characters, and stay in the name.
    let odd = "%E2%80%A4%E2%80%A4/%EF%BC%8E%EF%BC%8E%EF%BC%8F%E2%88%95..x";
    assert_eq!(appliance.connect().request("PUT", &format!("{SERVICE}/artifacts/{odd}"), &[], Some(b"x")).status, 200);
    assert_eq!(path(&s3.only_request()), format!("/bucket/team/mlflow/{odd}"));
}

#[test]
fn a_truncated_upload_leaves_no_object() {
    let mlflow = Upstream::ok();
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &[]);
    let mut caller = appliance.connect();
    caller
        .send(format!("PUT {SERVICE}/artifacts/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"))
        .unwrap();
    drop(caller);
    eventually("it is over", || appliance.access_log().len() == 1);
    assert_eq!(s3.requests().len(), 0);
    // An empty file comes from MLflow's client in chunks, of which there are none.
    let mut caller = appliance.connect();
    caller
        .send(format!(
            "PUT {SERVICE}/artifacts/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ))
        .unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    let sent = s3.only_request();
    assert_eq!((sent.header("content-length"), sent.body.len()), ("0", 0));
}

#[test]
fn an_error_of_s3_is_explained_to_the_caller() {
    for (status, code, expected, kind, said) in [
        ("404 Not Found", "NoSuchKey", 404, "no-such-artifact", "no such artifact"),
        (
            "403 Forbidden",
            "AccessDenied",
            403,
            "artifact-access-denied",
            "`s3:GetObject` on `arn:aws:s3:::bucket/team/mlflow/*`",
        ),
        ("404 Not Found", "NoSuchBucket", 500, "artifact-store-misconfigured", "NoSuchBucket"),
        ("301 Moved Permanently", "PermanentRedirect", 500, "artifact-store-misconfigured", "region"),
        ("416 Range Not Satisfiable", "InvalidRange", 416, "bad-range", "outside"),
        ("400 Bad Request", "InvalidRequest", 400, "artifact-store-refused", "InvalidRequest"),
        ("503 Slow Down", "SlowDown", 503, "artifact-store-busy", "SlowDown"),
        ("500 Internal Server Error", "InternalError", 503, "artifact-store-busy", "InternalError"),
        ("400 Bad Request", "ExpiredToken", 503, "artifact-store-busy", "ExpiredToken"),
    ] {
        let mlflow = Upstream::ok();
        let s3 = s3(move |_, wire| wire.answer(status, error(code)));
        let appliance = gateway(&mlflow, &s3, &[]);
        let got = appliance.get(&format!("{SERVICE}/artifacts/x"));
        assert_eq!((got.status, got.header("x-appliance-error")), (expected, kind), "{code}");
        let message = got.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(said), "{code}: {message}");
        assert_eq!(got.has("retry-after"), expected == 503, "{code}");
        assert_eq!(s3.requests().len(), if expected == 503 { 3 } else { 1 }, "{code}: what may pass is tried again");
    }
}

#[test]
fn a_request_to_a_busy_s3_is_retried_and_a_slow_s3_has_until_the_deadline() {
    let mlflow = Upstream::ok();
    let asked = AtomicUsize::new(0);
    let busy = s3(move |_, wire| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => wire.answer("503 Slow Down", error("SlowDown")),
        _ => wire.answer("200 OK", "done"),
    });
    let appliance = gateway(&mlflow, &busy, &[]);
    let mut caller = appliance.connect();
    assert_eq!(caller.request("PUT", &format!("{SERVICE}/artifacts/x"), &[], Some(b"hello")).status, 200);
    let bodies: Vec<_> = busy.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"hello", b"hello"], "the whole body, again");

    let slow = s3(|_, _| {
        std::thread::sleep(Duration::from_secs(3));
        Err(io::Error::other("too late"))
    });
    let appliance = gateway(&mlflow, &slow, &["--upstream-response-timeout", "1s"]);
    let got = appliance.get(&format!("{SERVICE}/artifacts/x"));
    assert_eq!((got.status, got.header("x-appliance-error")), (502, "artifact-store-unreachable"));
    assert_eq!(got.json()["error_code"], "TEMPORARILY_UNAVAILABLE");
}

/// `length` bytes of an answer that are never held in memory at once.
fn send_bytes(wire: &mut Wire, length: usize) -> io::Result<()> {
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
    let piece = vec![7; 1 << 20];
    (0..length >> 20).try_for_each(|_| wire.send(&piece))
}

#[test]
fn memory_does_not_grow_with_an_artifact_up_or_down() {
    /// Five times what the appliance may take.
    const SIZE: usize = 256 << 20;
    let mlflow = Upstream::ok();
    let s3 = s3(|request, wire| {
        if request.method == "GET" {
            return send_bytes(wire, SIZE);
        }
        assert_eq!(request.header("x-amz-decoded-content-length"), SIZE.to_string());
        assert!(request.body.len() > SIZE);
        wire.send(OK)
    });
    let appliance = gateway(&mlflow, &s3, &[]);
    let before = appliance.resident();
    let (mut up, mut down) = (0, 0);
    for (method, most) in [("PUT", &mut up), ("GET", &mut down)] {
        std::thread::scope(|scope| {
            let transfer = scope.spawn(|| {
                let mut caller = appliance.connect();
                caller.wait_for(Duration::from_mins(2));
                let head = format!("{method} {SERVICE}/artifacts/big HTTP/1.1\r\nHost: localhost\r\n");
                let length = if method == "PUT" { format!("Content-Length: {SIZE}\r\n") } else { String::new() };
                caller.send(format!("{head}{length}\r\n")).unwrap();
                if method == "PUT" {
                    let piece = vec![7; 1 << 20];
                    (0..SIZE >> 20).for_each(|_| caller.send(&piece).unwrap());
                }
                caller.answer(false).unwrap().body.len()
            });
            while !transfer.is_finished() {
                *most = (*most).max(appliance.resident());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(transfer.join().unwrap(), if method == "PUT" { 2 } else { SIZE });
        });
    }
    let mib = |bytes: u64| bytes >> 20;
    figure(&format!(
        "artifact of 256 MiB: resident {} MiB before, {} MiB at most up, {} MiB down",
        mib(before),
        mib(up),
        mib(down)
    ));
    assert!(mib(up.max(down)) <= 48, "{} and {} MiB", mib(up), mib(down));
}
