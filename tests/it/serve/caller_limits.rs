//! The limits of each caller: rate, concurrent requests, and the size of bodies.

use crate::support::Message as _;
use crate::support::appliance::Builder;
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::{OK, Upstream};

#[test]
fn a_caller_over_the_rate_limit_gets_retry_after_and_others_are_not_affected() {
    let tokens = TokenFile::new();
    let (fast, other) = (tokens.add("fast", "read", &[]), tokens.add("other", "read", &[]));
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream)
        .with_tokens(&tokens)
        .with(&["--caller-rate-limit", "1", "--caller-burst-limit", "5"])
        .start();
    let ask =
        |token: &Token| appliance.connect().request("GET", "/version", &[("Authorization", &token.bearer())], None);
    let statuses: Vec<u16> = (0..8).map(|_| ask(&fast).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    let refused = ask(&fast);
    assert_eq!((refused.status, refused.header("x-appliance-error")), (429, "rate-limited"));
    assert_eq!((refused.header("retry-after"), &refused.json()["error_code"]), ("1", &"REQUEST_LIMIT_EXCEEDED".into()));
    assert_eq!(ask(&other).status, 200);
    assert_eq!(upstream.requests().len(), 6);
}

#[test]
fn one_caller_cannot_use_all_concurrent_requests() {
    let tokens = TokenFile::new();
    let (busy, other) = (tokens.add("busy", "read", &[]), tokens.add("other", "read", &[]));
    let gate = Gate::default();
    let wait = gate.clone();
    let upstream = Upstream::start(move |request, wire| {
        if request.target == "/health" {
            wait.wait();
        }
        wire.send(OK)
    });
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--caller-concurrency-limit", "2"]).start();
    let ask = |token: &Token, path: &str| {
        appliance.connect().request("GET", path, &[("Authorization", &token.bearer())], None)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..2).map(|_| scope.spawn(|| ask(&busy, "/health").status)).collect();
        eventually("two are running", || upstream.requests().len() >= 2);
        let refused = ask(&busy, "/version");
        assert_eq!((refused.status, refused.header("x-appliance-error")), (429, "concurrency-limited"));
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(ask(&other, "/version").status, 200);
        gate.open(2);
        for thread in running {
            assert_eq!(thread.join().unwrap(), 200);
        }
    });
    assert_eq!(ask(&busy, "/version").status, 200, "when they are done there is room again");
}

#[test]
fn only_artifacts_may_exceed_the_api_body_limit() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--api-body-size-limit", "1000"]).start();
    let post = |length: usize| {
        appliance.connect().request("POST", "/api/2.0/mlflow/runs/log-batch", &[], Some(&vec![b'x'; length]))
    };
    assert_eq!(post(1000).status, 200);
    let refused = post(1001);
    assert_eq!((refused.status, refused.header("x-appliance-error")), (413, "body-too-large"));
}
