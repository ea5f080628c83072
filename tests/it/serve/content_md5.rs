//! `Content-MD5` of an artifact, which the appliance verifies while the body passes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::artifacts::{SERVICE, gateway, s3};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message as _, eventually};

/// The lengths of a body that is buffered, and of one that is streamed in signed chunks.
const LENGTHS: [usize; 2] = [1000, (2 << 20) + 777];
const LARGE: usize = LENGTHS[1];

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// The value of `md5sum` for a body, computed by another implementation.
fn md5(length: usize) -> String {
    let hex = match length {
        1000 => "a24f1e3ef66950e1327f210e3997ba2c",
        _ => "1dd675a491c681d7e024e2871655fa59",
    };
    BASE64_STANDARD.encode(hex::decode(hex).unwrap())
}

/// The paths of an object and of a part of an upload.
fn targets() -> [String; 2] {
    ["x", "x?partNumber=1&uploadId=u"].map(|name| format!("{SERVICE}/artifacts/{name}"))
}

/// An upload of each length to each target.
fn uploads() -> impl Iterator<Item = (usize, String)> {
    LENGTHS.iter().flat_map(|length| targets().map(|target| (*length, target)))
}

fn accepting() -> Upstream {
    s3(|_: &Recorded, wire| wire.send("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn a_body_that_has_its_md5_is_stored_whether_it_is_buffered_or_streamed() {
    let mlflow = Upstream::ok();
    for more in [&[][..], &["--unsigned-payload"]] {
        let s3 = accepting();
        let appliance = gateway(&mlflow, &s3, more);
        for (length, target) in uploads() {
            let before = s3.requests().len();
            let put =
                appliance.connect().request("PUT", &target, &[("Content-MD5", &md5(length))], Some(&body(length)));
            assert_eq!(
                (put.status, s3.requests().len()),
                (200, before + 1),
                "{target} {length} {more:?}: {}",
                put.text()
            );
        }
    }
}

#[test]
fn a_body_with_another_md5_is_rejected_and_never_completed_at_s3() {
    let mlflow = Upstream::ok();
    for more in [&[][..], &["--unsigned-payload"]] {
        let s3 = accepting();
        let appliance = gateway(&mlflow, &s3, more);
        for (length, target) in uploads() {
            // The last byte differs, so all but the last piece may have been sent.
            let mut wrong = body(length);
            *wrong.last_mut().unwrap() ^= 1;
            let put = appliance.connect().request("PUT", &target, &[("Content-MD5", &md5(length))], Some(&wrong));
            assert_eq!(
                (put.status, put.header("x-appliance-error")),
                (400, "bad-digest"),
                "{target} {length} {more:?}"
            );
            assert_eq!(put.json()["error_code"], "BAD_REQUEST");
            assert!(put.json()["message"].as_str().unwrap().contains("BadDigest"), "{}", put.text());
        }
        eventually("all requests have ended", || appliance.access_log().len() == 4);
        assert_eq!(s3.requests().len(), 0, "S3 has received no whole request");
        // The appliance goes on, and S3 is not to blame for the failures.
        let put = appliance.connect().request("PUT", &targets()[0], &[], Some(&body(LARGE)));
        assert_eq!((put.status, s3.requests().len()), (200, 1), "{}", put.text());
    }
}

#[test]
fn a_body_of_unknown_length_is_verified_at_its_end() {
    let (mlflow, s3) = (Upstream::ok(), accepting());
    let appliance = gateway(&mlflow, &s3, &[]);
    for (changed, status) in [(0, 200), (1, 400)] {
        let mut sent = body(1000);
        sent[500] ^= changed;
        let mut caller = appliance.connect();
        let head = format!(
            "PUT {SERVICE}/artifacts/x HTTP/1.1\r\nHost: localhost\r\nContent-MD5: {}\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
            md5(1000)
        );
        caller.send([head.as_bytes(), &sent, b"\r\n0\r\n\r\n"].concat()).unwrap();
        assert_eq!(caller.answer(false).unwrap().status, status, "{changed}");
    }
    assert_eq!(s3.requests().len(), 1);
}

#[test]
fn a_value_that_is_no_md5_is_rejected_before_anything_is_sent() {
    let (mlflow, s3) = (Upstream::ok(), accepting());
    let appliance = gateway(&mlflow, &s3, &[]);
    let hex = "d41d8cd98f00b204e9800998ecf8427e";
    let short = BASE64_STANDARD.encode([0; 15]);
    let right = md5(1000);
    let values: [&[&str]; 6] = [&[""], &["x"], &[hex], &[&short], &["1B2M2Y8AsgTpgAmY7PhCfg"], &[&right, &right]];
    for value in values {
        for target in targets() {
            let fields: Vec<_> = value.iter().map(|value| ("Content-MD5", *value)).collect();
            let put = appliance.connect().request("PUT", &target, &fields, Some(&body(1000)));
            assert_eq!((put.status, put.header("x-appliance-error")), (400, "bad-artifact-request"), "{value:?}");
            assert_eq!(put.json()["error_code"], "INVALID_PARAMETER_VALUE");
            assert!(put.json()["message"].as_str().unwrap().contains("`Content-MD5`"), "{}", put.text());
        }
    }
    // Nothing of a large body has been sent either, though its caller waits with it.
    let mut caller = appliance.connect();
    let head = format!(
        "PUT {SERVICE}/artifacts/x HTTP/1.1\r\nHost: localhost\r\nContent-MD5: x\r\nContent-Length: {LARGE}\r\n\r\n"
    );
    caller.send(head).unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 400);
    assert_eq!(s3.connections(), 0, "the appliance has not even connected to S3");
}
