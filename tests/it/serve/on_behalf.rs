//! Sessions per caller: AWS learns the caller of each request, if that is configured.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::credentials::{ROLE, key_of, sts};
use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::Upstream;

#[track_caller]
fn ask(appliance: &Appliance, token: &Token, path: &str) -> u16 {
    appliance.connect().request("GET", path, &[("Authorization", &token.bearer())], None).status
}

fn builder(upstream: &Upstream, sts: &Upstream, tokens: &TokenFile, how: &str) -> Builder {
    let builder = Builder::new(upstream).with_tokens(tokens).with(&["--role-caller", how]);
    builder.env("AWS_ENDPOINT_URL_STS", &sts.url()).env("SM_MLFLOW_ROLE_ARN", ROLE)
}

/// The bodies of the requests to STS.
fn asked(sts: &Upstream) -> Vec<String> {
    sts.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect()
}

#[test]
fn each_caller_has_a_session_that_names_them_in_mlflow_and_on_s3() {
    let (upstream, s3) = (Upstream::ok(), Upstream::ok());
    let (sts, _) = sts(3600);
    let tokens = TokenFile::new();
    let (ada, bob) = (tokens.add("ada@corp.example", "read", &[]), tokens.add("bob", "read", &[]));
    let appliance = builder(&upstream, &sts, &tokens, "source-identity")
        .with(&["--artifact-store", "s3://bucket/mlflow", "--s3-endpoint", &s3.url()])
        .start();
    for _ in 0..3 {
        assert_eq!([ask(&appliance, &ada, "/version"), ask(&appliance, &bob, "/version")], [200, 200]);
    }
    assert_eq!(ask(&appliance, &ada, "/api/2.0/mlflow-artifacts/artifacts/0/a.txt"), 200);
    let keys: Vec<String> = upstream.requests().iter().map(key_of).collect();
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 2, "one key each: {keys:?}");
    assert_eq!((&keys[0], &keys[1]), (&keys[2], &keys[3]));
    let target = s3.only_request().target;
    assert!(target.contains(&format!("X-Amz-Credential={}%2F", keys[0])), "S3 is asked in the caller's name: {target}");
    let asked = asked(&sts);
    assert_eq!(asked.len(), 3, "the appliance itself and two callers: {asked:?}");
    for name in ["mlflow-appliance", "ada%40corp.example", "bob"] {
        assert!(asked.iter().any(|body| body.contains(&format!("SourceIdentity={name}"))), "{name}: {asked:?}");
    }
}

#[test]
fn a_session_tag_carries_the_name_as_well() {
    let upstream = Upstream::ok();
    let (sts, _) = sts(3600);
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "read", &[]);
    let appliance = builder(&upstream, &sts, &tokens, "session-tag").start();
    assert_eq!(ask(&appliance, &token, "/version"), 200);
    let asked = asked(&sts);
    let last = asked.last().unwrap();
    assert!(last.contains("Tags.member.1.Key=caller&Tags.member.1.Value=ci"), "{last}");
    assert!(!last.contains("SourceIdentity"));
}

#[test]
fn concurrent_requests_call_sts_once_and_an_outage_affects_only_new_callers() {
    let upstream = Upstream::ok();
    let (sts, is_up) = sts(3600);
    let tokens = TokenFile::new();
    let (ci, late) = (tokens.add("ci", "read", &[]), tokens.add("late", "read", &[]));
    let appliance = builder(&upstream, &sts, &tokens, "source-identity").start();
    let before = sts.requests().len();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&appliance, &ci, "/version"))).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap() == 200));
    });
    assert_eq!(sts.requests().len(), before + 1);
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(ask(&appliance, &ci, "/version"), 200);
    let bearer = late.bearer();
    let refused = appliance.connect().request("GET", "/version", &[("Authorization", &bearer)], None);
    assert_eq!((refused.status, refused.header("x-appliance-error")), (503, "no-credentials"));
    assert!(refused.has("retry-after"));
    is_up.store(true, Ordering::SeqCst);
    crate::support::eventually("it recovers", || ask(&appliance, &late, "/version") == 200);
}
