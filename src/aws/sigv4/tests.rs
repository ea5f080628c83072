//! Signatures against those of botocore, and the cache of the signer.

use std::time::Duration;

use super::*;
use crate::mlflow::{arn::Arn, target::Target};

const TRACKING: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
const APP: &str = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456";
const JSON: Option<&str> = Some("application/json");
/// Of `{"name":"x"}`.
const NAME_X_SHA256: &str = "0229d37e33daae149bf40543a5ce1db4459d10f830d5139279aa2bfd5f6485a1";

/// Mode, method, target, content type, SHA-256 of the body, signature.
type Vector = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str, &'static str);

/// Computed by botocore 1.44.5 (`SigV4Auth`) for 2026-01-01T00:00:00Z.
#[rustfmt::skip]
const VECTORS: [Vector; 8] = [
    (TRACKING, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=exp%20%2B%20a%20b%2F%C3%BC", None, EMPTY_SHA256,
        "30d74463121a0caaf2e8aa8fd625a344a7fb00a3ded180e1d940d27143de5f5f"),
    (TRACKING, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
        "a1538b635e026137af6203d794c32c735cb23480e48c995419db0e5ea0ea1d73"),
    (APP, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
        "95580e0e95db451a3088d8d8bc0e8123f9e8035383836317053983623472c59a"),
    (TRACKING, "GET", "/api/2.0/mlflow-artifacts/artifacts/d%20ir%2Bx/a%20b%2Bc%20%C3%A9", None, EMPTY_SHA256,
        "30da97525c6b020276a3e0013af47bff66fe834d04e95952edc1b157aa165271"),
    (TRACKING, "PUT", "/api/2.0/mlflow-artifacts/artifacts/empty.txt", Some("text/plain"), EMPTY_SHA256,
        "56e8ec5f6772e599dc6e9d32612851697d6857e0a148abd690a7bc452ad19e99"),
    (APP, "GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id=b&run_id=a&metric_key=m&max_results=", None, EMPTY_SHA256,
        "b2da76fef19aeac2fb8028c87200ee1360a912840f3f32ff62006a8d8da3600c"),
    (APP, "GET", "/gateway/gemini/v1beta/models/x%3AgenerateContent", None, EMPTY_SHA256,
        "1b1e44e9cd465977bea5077f2d8cfce91e62897c9293846786cf49d1e56acab0"),
    (APP, "GET", "/", None, EMPTY_SHA256,
        "1a573c286a0b664ba76b6e74ba04558b6e091a69e91fd087f6d1c8f62e5c650c"),
];

#[test]
fn botocores_golden_signatures_are_reproduced() {
    let credentials = Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        Some("TOKEN".to_owned()),
        None,
        "golden",
    );
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    for (number, (arn, method, path, content_type, payload_sha256, expected)) in (1..).zip(VECTORS) {
        let target = Target::new(Arn::parse(arn).expect(arn));
        let request = Signable {
            method,
            target: path,
            host: &target.host(),
            content_type,
            routing: Some((target.arn_header(), arn)),
            payload_sha256,
        };
        let signer = Signer::new(target.arn().region(), target.signing_name());
        let signature = signer.sign(&request, &credentials, time);
        assert_eq!(signature.date, "20260101T000000Z");
        let authorization = signature.authorization.to_str().expect("text");
        assert!(authorization.ends_with(&format!("Signature={expected}")), "vector {number}: {authorization}");
    }
}

#[test]
fn the_cache_follows_the_day_the_credentials_and_the_host() {
    let signer = Signer::new("us-east-1", "sagemaker");
    let request = Signable {
        method: "GET",
        target: "/",
        host: "h",
        content_type: None,
        routing: None,
        payload_sha256: EMPTY_SHA256,
    };
    let credentials = |(id, secret, token): (&str, &str, Option<&str>)| {
        Credentials::new(id, secret, token.map(ToOwned::to_owned), None, "test")
    };
    let day = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * number);
    let all = |signer: &Signer, parts, host, number| {
        let signature = signer.sign(&Signable { host, ..request }, &credentials(parts), day(number));
        (signature.date, signature.token, signature.authorization)
    };
    let first = ("id", "secret", Some("token"));
    for (parts, host, number) in [
        (first, "h", 1),
        (first, "h", 1),
        (first, "h", 2),
        (("other", "secret", Some("token")), "h", 2),
        (("other", "changed", Some("token")), "h", 2),
        (("other", "changed", Some("renewed")), "h", 2),
        (("other", "changed", None), "h", 2),
        (("other", "changed", None), "elsewhere", 2),
        (first, "h", 1),
    ] {
        let fresh = all(&Signer::new("us-east-1", "sagemaker"), parts, host, number);
        assert_eq!(all(&signer, parts, host, number), fresh, "{parts:?} {host} on day {number}");
    }
}

#[test]
fn canonical_parts_come_from_normal_form() {
    for (path, expected) in
        [("/", "/"), ("//", "/"), ("/a%20b", "/a%2520b"), ("//a//b/", "/a/b/"), ("/a%2Fb/~c", "/a%252Fb/~c")]
    {
        let mut canonical = Vec::new();
        push_path(&mut canonical, path);
        assert_eq!(canonical, expected.as_bytes(), "{path}");
    }
    for (query, expected) in
        [("", ""), ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="), ("%FF=1", "%FF=1"), ("a-=1&a=2", "a=2&a-=1")]
    {
        let mut canonical = Vec::new();
        push_query(&mut canonical, query);
        assert_eq!(canonical, expected.as_bytes(), "{query}");
    }
    assert_eq!(collapsed("  a/b ;  c=d\t "), "a/b ; c=d");
}
