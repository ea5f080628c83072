//! Uploads that are streamed to S3 in signed chunks. `s3s` in the sandbox verifies the signatures, which shares no code with the
//! appliance's signer.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::artifacts::{SERVICE, error, gateway, path, s3};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message as _, eventually};

/// More than `--body-memory-limit`, and not a multiple of a chunk.
const LENGTH: usize = (3 << 20) + 12_345;

fn body() -> Vec<u8> {
    (0..LENGTH).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

/// The data of a body in chunks, and the lines around it.
fn decoded(request: &Recorded) -> (Vec<u8>, Vec<String>) {
    let (mut data, mut lines, mut rest) = (Vec::new(), Vec::new(), request.body.as_slice());
    let mut line = |rest: &mut &[u8]| {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line ends");
        let line = String::from_utf8(rest[..end].to_vec()).unwrap();
        *rest = &rest[end + 2..];
        lines.push(line.clone());
        line
    };
    loop {
        let head = line(&mut rest);
        let (size, signature) = head.split_once(";chunk-signature=").expect("each chunk is signed");
        assert_eq!(signature.len(), 64);
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        data.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n").expect("each chunk ends with a line end");
    }
    while !line(&mut rest).is_empty() {}
    assert!(rest.is_empty(), "nothing follows the trailer");
    (data, lines)
}

#[test]
fn a_large_artifact_is_streamed_in_signed_chunks_and_needs_no_disk() {
    let mlflow = Upstream::ok();
    let s3 = s3(|_, wire| wire.send("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n"));
    let appliance = gateway(&mlflow, &s3, &["--body-disk-budget", "1 KiB", "--artifact-kms-key", "arn:aws:kms:key"]);
    let mut caller = appliance.connect();
    let target = format!("{SERVICE}/artifacts/1/a%20b%2B.bin");
    let put = caller.request("PUT", &target, &[("Content-Type", "text/plain")], Some(&body()));
    assert_eq!((put.status, put.json()), (200, json!({})));
    let sent = s3.only_request();
    assert_eq!(path(&sent), "/bucket/team/mlflow/1/a%20b%2B.bin");
    for (name, value) in [
        ("content-encoding", "aws-chunked"),
        ("content-type", "text/plain"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", &LENGTH.to_string()),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:key"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-length", &sent.body.len().to_string()),
    ] {
        assert_eq!(sent.header(name), value, "{name}");
    }
    for name in ["content-type", "x-amz-decoded-content-length", "x-amz-security-token", "x-amz-trailer"] {
        assert!(sent.header("authorization").contains(name), "{name} is signed");
    }
    let (data, lines) = decoded(&sent);
    assert!(data == body());
    assert_eq!(lines.len(), LENGTH.div_ceil(64 << 10) + 4, "{:?}", lines.last());

    // A part of an upload is streamed in the same way.
    let part = format!("{SERVICE}/artifacts/1/b?partNumber=2&uploadId=u%2F1");
    let put = caller.request("PUT", &part, &[], Some(&body()));
    assert_eq!((put.status, put.header("etag")), (200, "\"e\""));
    let sent = s3.requests().pop().unwrap();
    assert_eq!(sent.target, "/bucket/team/mlflow/1/b?partNumber=2&uploadId=u%2F1");
    assert!(decoded(&sent).0 == body());
}

#[test]
fn an_upload_that_is_cut_short_never_gets_its_last_chunk() {
    let mlflow = Upstream::ok();
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &[]);
    let mut caller = appliance.connect();
    let head = format!("PUT {SERVICE}/artifacts/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n");
    caller.send([head.as_bytes(), &body()[..LENGTH - 1]].concat()).unwrap();
    drop(caller);
    eventually("the request has ended", || appliance.access_log().len() == 1);
    assert_eq!(s3.requests().len(), 0, "S3 has received no whole request");
}

#[test]
fn a_streamed_upload_to_a_busy_s3_is_not_sent_twice_and_a_buffered_one_is() {
    for (signing, sent, status) in [("chunks", 1, 503), ("whole", 2, 200)] {
        let (mlflow, asked) = (Upstream::ok(), AtomicUsize::new(0));
        let s3 = s3(move |_, wire| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => wire.answer("503 Slow Down", error("SlowDown")),
            _ => wire.answer("200 OK", ""),
        });
        let appliance = gateway(&mlflow, &s3, &["--artifact-upload-signing", signing]);
        let target = format!("{SERVICE}/artifacts/x");
        let put = appliance.connect().request("PUT", &target, &[], Some(&body()));
        assert_eq!((put.status, s3.requests().len()), (status, sent), "{signing}");
        assert_eq!(put.has("retry-after"), status == 503, "{signing}: MLflow's client retries then");
        assert_eq!(s3.requests()[0].has("x-amz-checksum-sha256"), signing == "whole");
    }
}

/// A relay that changes the byte at this position of each connection.
fn corrupting(to: SocketAddr, at: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(to) else { return };
            let at = Arc::clone(&at);
            let (mut from, mut into) = (caller.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || {
                let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    let position = at.load(Ordering::SeqCst);
                    if (passed..passed + count).contains(&position) {
                        buffer[position - passed] ^= 1;
                    }
                    passed += count;
                    if into.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = into.shutdown(Shutdown::Write);
            });
            let (mut from, mut into) = (upstream, caller);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut into);
                // S3 ends the connection after it has rejected an upload. The next request must not begin on it.
                let _ = into.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn s3_accepts_the_signatures_and_rejects_an_upload_with_one_wrong_byte() {
    let behind = Upstream::plain(|_, wire| wire.answer("200 OK", "3.0.0"));
    let sandbox = Sandbox::start(Path::new("/usr/bin"), &["--mlflow-url", &behind.url()]);
    let s3 = sandbox.text("s3");
    let at = Arc::new(AtomicUsize::new(usize::MAX));
    let to = s3.trim_start_matches("http://").replace("localhost", "127.0.0.1").parse().unwrap();
    let relay = format!("http://127.0.0.1:{}", corrupting(to, Arc::clone(&at)).port());
    let file = sandbox.configuration();
    let text = std::fs::read_to_string(file.path()).unwrap().replace(s3, &relay);
    std::fs::write(file.path(), text).unwrap();

    let put = |name: &str| {
        // Each upload has an appliance of its own, and so a connection of its own to S3.
        let appliance = sandbox.serve(file.path()).start();
        let target = format!("{SERVICE}/artifacts/{name}");
        let put = appliance.connect().request("PUT", &target, &[], Some(&body()));
        (put.status, put.text(), appliance.get(&target))
    };
    let (status, text, read) = put("whole.bin");
    assert_eq!((status, read.status), (200, 200), "{text}");
    assert!(read.body == body(), "the object is what was sent");
    // The first chunk, one in the middle, and the last.
    for position in [10_000, 1_500_000, LENGTH] {
        at.store(position, Ordering::SeqCst);
        let (status, text, read) = put(&format!("wrong-at-{position}.bin"));
        assert!((400..600).contains(&status), "{position}: {status} {text}");
        at.store(usize::MAX, Ordering::SeqCst);
        assert_eq!(read.status, 404, "{position}: nothing is visible of a rejected upload");
    }
    drop(sandbox);
}
