//! Large bodies, limits and budgets.

use sha2::{Digest, Sha256};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::upstream::Upstream;
use crate::support::{eventually, figure};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are nowhere the same.
fn sample(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).take(length).collect()
}

#[test]
fn bodies_on_either_side_of_the_memory_limit_arrive_as_sent() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    for length in [1, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20] {
        let body = sample(length);
        assert_eq!(caller.request("PUT", "/artifact", &[], Some(&body)).status, 200, "{length}");
        let seen = upstream.requests().pop().unwrap();
        assert!(seen.body == body, "{length} bytes differ");
        assert_eq!(seen.header("x-amz-content-sha256"), hex(&Sha256::digest(&body)), "{length}");
    }
}

#[test]
fn a_chunked_body_of_unknown_length_is_spooled_too() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    let body = sample(3 << 20);
    caller.send("PUT /artifact HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for piece in body.chunks(100_000) {
        caller.send(format!("{:x}\r\n", piece.len())).unwrap();
        caller.send(piece).unwrap();
        caller.send("\r\n").unwrap();
    }
    caller.send("0\r\n\r\n").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    assert!(upstream.only_request().body == body);
}

#[test]
fn a_body_over_the_limit_gets_a_413_with_or_without_a_length() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--body-size-limit", "64 KiB"]).start();
    let mut caller = appliance.connect();
    caller.send("PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n").unwrap();
    let answer = caller.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("x-appliance-error")), (413, "body-too-large"));
    assert!(answer.json()["message"].as_str().unwrap().contains("65536"));

    let mut caller = appliance.connect();
    caller.send("PUT /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..2 {
        let _ = caller.send(format!("8001\r\n{}\r\n", "a".repeat(0x8001)));
    }
    assert_eq!(caller.answer(false).unwrap().status, 413);

    let fitting = appliance.connect().request("PUT", "/x", &[], Some(&sample(65_536)));
    assert_eq!((fitting.status, upstream.requests().len()), (200, 1));
}

#[test]
fn uploads_over_the_disk_budget_get_a_429() {
    let upstream = Upstream::ok();
    let limits = ["--body-memory-limit", "1 KiB", "--body-disk-budget", "1 MiB"];
    let appliance = Builder::new(&upstream).with(&limits).start();
    let mut first = appliance.connect();
    first.send("PUT /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 690000\r\n\r\n").unwrap();
    first.send(sample(600_000)).unwrap();
    // One caller may hold two thirds of the budget, and the first has most of that once its bytes are there.
    let mut refused = None;
    eventually("the second is rejected", || {
        let answer = appliance.connect().request("PUT", "/second", &[], Some(&sample(400_000)));
        refused = (answer.status == 429).then_some(answer);
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert_eq!(refused.header("x-appliance-error"), "uploads-over-budget");
    assert_eq!(refused.json()["error_code"], "REQUEST_LIMIT_EXCEEDED");
    refused.header("retry-after").parse::<u32>().expect("seconds");

    first.send(sample(90_000)).unwrap();
    assert_eq!(first.answer(false).unwrap().status, 200);
    let again = appliance.connect().request("PUT", "/second", &[], Some(&sample(400_000)));
    assert_eq!(again.status, 200, "the budget is free again");
}

#[test]
fn a_stalled_body_gets_a_408_and_a_truncated_one_is_not_forwarded() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--body-idle-timeout", "1s"]).start();
    let mut stalled = appliance.connect();
    stalled.send("PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    let answer = stalled.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("x-appliance-error")), (408, "body-stalled"));

    let mut broken = appliance.connect();
    broken.send("PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    drop(broken);
    eventually("both are over", || appliance.access_log().len() == 2);
    assert_eq!(upstream.requests().len(), 0, "a truncated body is never forwarded");
}

#[test]
fn memory_does_not_grow_with_the_body() {
    let upstream = Upstream::start(|request, wire| {
        assert_eq!(request.body.len(), 100 << 20);
        wire.send(crate::support::upstream::OK)
    });
    let appliance = Appliance::before(&upstream);
    let before = appliance.resident();
    let body = sample(100 << 20);
    let mut most = 0;
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| appliance.connect().request("PUT", "/artifact", &[], Some(&body)).status);
        while !upload.is_finished() {
            most = most.max(appliance.resident());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(upload.join().unwrap(), 200);
    });
    let grown = most.saturating_sub(before) >> 20;
    figure(&format!("resident: {} MiB before, {} MiB at most during a PUT of 100 MiB", before >> 20, most >> 20));
    assert!(grown < 32, "grew by {grown} MiB for a body of 100 MiB");
}
