//! Requests to S3 follow the rules of requests to MLflow: retries, retry budget and circuit breaker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::artifacts::{SERVICE, error, gateway};
use crate::support::appliance::Builder;
use crate::support::upstream::{OK, Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually, figure, quiet_port};

#[test]
fn the_circuit_breaker_of_s3_opens_and_closes_by_itself() {
    let mlflow = Upstream::ok();
    let address = SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let store = ["--artifact-store", "s3://bucket/mlflow", "--s3-endpoint", &format!("http://{address}")];
    let appliance = Builder::new(&mlflow).with(&store).start();
    let read = || appliance.get(&format!("{SERVICE}/artifacts/x"));
    let first = read();
    assert_eq!((first.status, first.header("x-appliance-error")), (502, "artifact-store-unreachable"));
    eventually("the circuit opens", || read().header("x-appliance-error") == "artifact-store-circuit-open");
    let refused = read();
    assert_eq!(refused.status, 503);
    assert!((1..=5).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{refused:?}");
    let began = Instant::now();
    for _ in 0..20 {
        read();
    }
    assert!(began.elapsed() < Duration::from_secs(2), "no request waits for an unreachable S3: {:?}", began.elapsed());
    let ready = appliance.get("/_appliance/readyz");
    assert!(ready.status == 200 && ready.text().contains("S3 cannot be reached"), "{}", ready.text());
    assert_eq!(appliance.get("/version").status, 200, "MLflow is another matter");

    let _back = Upstream::at(address, None, Arc::new(|_: &Recorded, wire: &mut Wire| wire.send(OK)));
    eventually("the circuit closes", || read().status == 200);
    for _ in 0..20 {
        assert_eq!(read().status, 200, "and stays closed");
    }
    let ready = appliance.get("/_appliance/readyz");
    assert!(ready.status == 200 && !ready.text().contains("S3 cannot be reached"), "{}", ready.text());
}

/// Requests of callers during a storm.
const REQUESTS: usize = 120;

#[test]
fn retries_add_at_most_a_tenth_to_a_storm_of_errors() {
    let mlflow = Upstream::ok();
    let s3 = Upstream::plain(|_, wire| wire.answer("503 Slow Down", error("SlowDown")));
    let appliance = gateway(&mlflow, &s3, &[]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut caller = appliance.connect();
                for _ in 0..REQUESTS / 8 {
                    assert_eq!(caller.get(&format!("{SERVICE}/artifacts/x")).status, 503);
                }
            });
        }
    });
    let asked = s3.requests().len();
    figure(&format!("S3 slows down: {asked} requests for {REQUESTS} of callers"));
    // Twenty that were saved, a tenth of the requests, and one for each second that it took.
    assert!(asked <= REQUESTS + 20 + REQUESTS / 10 + 20, "{asked}");
    assert!(asked > REQUESTS, "some were repeated");
}

#[test]
fn a_call_that_may_have_succeeded_is_not_retried() {
    for (method, target, body, expected) in [
        ("GET", "artifacts/x", None, 2),
        ("PUT", "artifacts/x", Some(&b"hello"[..]), 2),
        ("POST", "mpu/create/x", Some(br#"{"path":"f","num_parts":1}"#), 1),
        ("POST", "mpu/abort/x", Some(br#"{"path":"f","upload_id":"u"}"#), 1),
    ] {
        let mlflow = Upstream::ok();
        let asked = AtomicUsize::new(0);
        let s3 = Upstream::plain(move |_, wire| {
            asked.fetch_add(1, Ordering::SeqCst);
            Err(wire.reset())
        });
        let appliance = gateway(&mlflow, &s3, &[]);
        let got = appliance.connect().request(method, &format!("{SERVICE}/{target}"), &[], body);
        assert_eq!((got.status, got.header("x-appliance-error")), (502, "artifact-store-unreachable"), "{target}");
        assert_eq!(s3.requests().len(), expected, "{method} {target}");
    }
}

#[test]
fn retries_to_a_busy_s3_have_random_waits() {
    let mlflow = Upstream::ok();
    let s3 = Upstream::plain(|_, wire| wire.answer("503 Slow Down", error("SlowDown")));
    let appliance = gateway(&mlflow, &s3, &[]);
    let mut took = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        assert_eq!(appliance.get(&format!("{SERVICE}/artifacts/x")).status, 503);
        took.push(began.elapsed());
    }
    // 125 to 250 ms, and twice that.
    assert!(took.iter().all(|took| (370..2000).contains(&took.as_millis())), "{took:?}");
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(*most > *least + Duration::from_millis(10), "{took:?}");
    assert_eq!(s3.requests().len(), 18);
}
