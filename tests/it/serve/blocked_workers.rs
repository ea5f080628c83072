//! A request for many items must not block the worker that serves it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::artifacts::{SERVICE, error, gateway};
use super::multipart::create;
use crate::support::appliance::Appliance;
use crate::support::figure;
use crate::support::upstream::{Recorded, Upstream};

/// Asks for the appliance's health until `is_over`, and returns the longest time that an answer took.
fn longest_wait(appliance: &Appliance, is_over: &AtomicBool) -> Duration {
    let mut caller = appliance.connect();
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::SeqCst) {
        let began = Instant::now();
        assert_eq!(caller.get("/_appliance/healthz").status, 200);
        longest = longest.max(began.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    longest
}

/// Eight callers do this, and the others hardly wait meanwhile; all on one worker. Whoever waits for a processor once does not do
/// so three times.
#[track_caller]
fn others_hardly_wait(appliance: &Appliance, what: &str, ask: impl Fn(&Appliance) + Sync) {
    let mut all = Vec::new();
    while all.len() < 3 {
        let (longest, took) = waiting_beside(appliance, &ask);
        figure(&format!("{what} in {took:.1?}; others waited for {longest:.1?} at most"));
        if longest < BOUND {
            return;
        }
        all.push(longest);
    }
    panic!("{what}: others waited for {all:?}");
}

/// While eight callers do this, how long the others wait.
fn waiting_beside(appliance: &Appliance, ask: impl Fn(&Appliance) + Sync) -> (Duration, Duration) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| longest_wait(appliance, &is_over));
        let began = Instant::now();
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(appliance))).collect();
        let done = askers.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>();
        let took = began.elapsed();
        is_over.store(true, Ordering::SeqCst);
        let longest = waiting.join().unwrap();
        done.expect("all were answered");
        (longest, took)
    })
}

/// A debug build on a busy machine waits for up to 35 ms, most of it for a processor. Each of these took a worker for most of a
/// second once, and eight in a row for several.
const BOUND: Duration = Duration::from_millis(150);

#[test]
fn a_request_for_many_items_does_not_block_its_worker() {
    let mlflow = Upstream::start(|_, wire| {
        let runs = "x".repeat(3 << 20);
        let document =
            format!("{{\"run\":{{\"info\":{{\"artifact_uri\":\"s3://bucket/team/mlflow/1\"}},\"data\":\"{runs}\"}}}}");
        wire.answer("200 OK", document)
    });
    let s3 = Upstream::plain(|request: &Recorded, wire| match request.method.as_str() {
        "POST" if request.target.contains("uploads=") => wire.answer(
            "200 OK",
            "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>bucket</Bucket>\
             <Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => wire.answer("404 Not Found", error("NoSuchUpload")),
        _ => {
            let begin = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
            let keys: String = (0..1000)
                .map(|number| {
                    format!(
                        "<Contents><Key>team/mlflow/{number}{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                         <ETag>e</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>",
                        "k".repeat(900)
                    )
                })
                .collect();
            wire.answer("200 OK", format!("{begin}<Name>bucket</Name><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>"))
        }
    });
    // Eight documents of 11 MB at a time are more than one caller's share of the default budget.
    let appliance = gateway(&mlflow, &s3, &["--body-memory-budget", "256 MiB"]);
    let parts: Vec<Value> = (1..=10_000)
        .map(|number| json!({"part_number": number, "etag": "\"0123456789abcdef0123456789abcdef\"", "url": "u".repeat(1000)}))
        .collect();
    let complete = json!({"path": "f", "upload_id": "u", "parts": parts}).to_string();
    others_hardly_wait(&appliance, "8 uploads of 10,000 parts begun", |appliance| {
        assert_eq!(create(appliance, "a", "f", 10_000, &[])["credentials"].as_array().unwrap().len(), 10_000);
    });
    others_hardly_wait(&appliance, "8 uploads of 10,000 parts completed", |appliance| {
        let target = format!("{SERVICE}/mpu/complete/a");
        let status = appliance.connect().request("POST", &target, &[], Some(complete.as_bytes())).status;
        assert_eq!(status, 400);
    });
    others_hardly_wait(&appliance, "8 times 2,000 artifacts listed", |appliance| {
        assert_eq!(
            appliance.get(&format!("{SERVICE}/artifacts?path=")).json()["files"].as_array().unwrap().len(),
            1000
        );
        assert_eq!(appliance.get("/api/2.0/mlflow/artifacts/list?run_id=1").status, 200);
    });
}
