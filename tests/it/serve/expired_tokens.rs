//! Credentials that AWS calls expired before their time: they are renewed, and AWS is not asked for others with each request.

use super::credentials::{ROLE, key_of, sts};
use crate::support::appliance::{Appliance, Builder};
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::{OK, Recorded, Upstream};

/// A managed MLflow that rejects the tokens of these keys.
fn rejecting(rejects: impl Fn(&str) -> bool + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request, wire| {
        if !rejects(&key_of(request)) {
            return wire.send(OK);
        }
        wire.send(
            "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: ExpiredTokenException:http://internal.amazon.com/\r\n\
             Content-Length: 2\r\n\r\n{}",
        )
    })
}

fn builder(upstream: &Upstream, sts: &Upstream) -> Builder {
    Builder::new(upstream).env("AWS_ENDPOINT_URL_STS", &sts.url()).env("SM_MLFLOW_ROLE_ARN", ROLE)
}

/// The bodies of the requests to STS that carry this name.
fn asked(sts: &Upstream, name: &str) -> usize {
    let has_name = |request: &&Recorded| String::from_utf8_lossy(&request.body).contains(name);
    sts.requests().iter().filter(has_name).count()
}

#[test]
fn a_token_that_managed_mlflow_calls_expired_is_renewed() {
    let upstream = rejecting(|key| key == "ASIAROLE0");
    let (sts, _) = sts(3600);
    let appliance = builder(&upstream, &sts).start();
    let mut caller = appliance.connect();
    assert_eq!(caller.get("/x").status, 403);
    eventually("the next one is in use", || caller.get("/x").status == 200);
    assert_eq!(sts.requests().len(), 2);
}

#[test]
fn rejections_without_end_do_not_ask_sts_without_end() {
    let upstream = rejecting(|_| true);
    let (sts, _) = sts(3600);
    let appliance = builder(&upstream, &sts).start();
    let mut caller = appliance.connect();
    eventually("the renewed token is in use", || {
        assert_eq!(caller.get("/x").status, 403);
        key_of(upstream.requests().last().unwrap()) == "ASIAROLE1"
    });
    for _ in 0..50 {
        assert_eq!(caller.get("/x").status, 403);
    }
    assert_eq!(sts.requests().len(), 2);
}

#[test]
fn a_callers_own_token_is_renewed_as_well() {
    // The first token is the appliance's own.
    let upstream = rejecting(|key| key == "ASIAROLE1");
    let s3 = Upstream::plain(|request, wire| {
        if request.target.contains("ASIAROLE1%2F") {
            wire.answer("400 Bad Request", super::artifacts::error("ExpiredToken"))
        } else {
            wire.answer("200 OK", "x")
        }
    });
    for target in ["/version", "/api/2.0/mlflow-artifacts/artifacts/x"] {
        let (sts, _) = sts(3600);
        let tokens = TokenFile::new();
        let ci = tokens.add("ci", "read", &[]);
        let appliance = builder(&upstream, &sts)
            .with_tokens(&tokens)
            .with(&[
                "--role-caller",
                "source-identity",
                "--artifact-store",
                "s3://bucket/x",
                "--s3-endpoint",
                &s3.url(),
            ])
            .start();
        let bearer = ci.bearer();
        let ask = |appliance: &Appliance| {
            appliance.connect().request("GET", target, &[("Authorization", &bearer)], None).status
        };
        // A request to S3 is sent again by itself, and may have the next one by then.
        eventually("the next one is in use", || ask(&appliance) == 200);
        assert_eq!(asked(&sts, "SourceIdentity=ci"), 2, "{target}");
    }
}
