//! Tokens that are forged, swapped, replayed elsewhere or oversized: none is accepted, and each has its reason in the log.

use serde_json::{Value, json};

use super::super::callers::with;
use super::{AUDIENCE, JOB, ROLE, content, identity, of_content, rejection, start, sts, token};
use crate::support::Message as _;
use crate::support::appliance::Appliance;
use crate::support::upstream::Upstream;

/// Waits for the reason of the last rejection.
#[track_caller]
fn assert_reason(appliance: &Appliance, seen: usize, reason: &str, what: &str) {
    crate::support::eventually(what, || appliance.access_log().len() > seen);
    let cause = appliance.access_log().pop().unwrap()["cause"].as_str().unwrap_or_default().to_owned();
    assert!(cause.contains(reason), "{what}: {cause}");
}

#[test]
fn no_forged_token_is_accepted_or_causes_a_call_of_sts() {
    let (upstream, sts) = (Upstream::ok(), sts(|_, wire| wire.answer("200 OK", identity(JOB))));
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let good = content(&token(&sts));
    let url = good["url"].as_str().unwrap();
    let host = sts.authority();
    let changed = |from: &str, to: &str| {
        assert!(url.contains(from), "{from}: {url}");
        of_content(&json!({"audience": AUDIENCE, "url": url.replacen(from, to, 1)}))
    };
    let parameter = |name: &str| {
        let (_, rest) = url.split_once(&format!("{name}=")).unwrap();
        format!("{name}={}", rest.split('&').next().unwrap())
    };
    let date = parameter("X-Amz-Date");
    let signature = parameter("X-Amz-Signature");
    let mut table: Vec<(&str, String, &str)> = vec![
        ("nothing", "mlfaws.".to_owned(), "malformed"),
        ("not base64", "mlfaws.!!".to_owned(), "malformed"),
        ("not JSON", "mlfaws.AAAA".to_owned(), "malformed"),
        ("another prefix", token(&sts).replace("mlfaws.", "mlfawz."), "the token is rejected"),
        ("a list", of_content(&json!([AUDIENCE, url])), "malformed"),
        ("no audience", of_content(&json!({"url": url})), "malformed"),
        ("another key", of_content(&json!({"audience": AUDIENCE, "url": url, "host": "evil.example"})), "malformed"),
        ("a number", of_content(&json!({"audience": 1, "url": url})), "malformed"),
        ("no URL", of_content(&json!({"audience": AUDIENCE, "url": ""})), "malformed"),
        ("another scheme", changed("https://", "file://"), "malformed"),
        ("a path", changed("/?", "/admin?"), "malformed"),
        ("another audience", of_content(&json!({"audience": "https://b.example", "url": url})), "https://b.example"),
        ("an audience with a line", of_content(&json!({"audience": "a\nb", "url": url})), "malformed"),
        ("another host", changed(&host, "evil.example"), "another host"),
        ("the global endpoint", changed(&host, "sts.amazonaws.com"), "another host"),
        ("a user", changed(&host, &format!("evil@{host}")), "another host"),
        ("another port", changed(&host, "localhost:1"), "another host"),
        ("another region", changed("%2Fus-east-1%2F", "%2Feu-west-1%2F"), "not among `aws-regions`"),
        ("a region with a host", changed("%2Fus-east-1%2F", "%2Fevil.example%23%2F"), "not among `aws-regions`"),
        ("another service", changed("%2Fsts%2F", "%2Fiam%2F"), "`X-Amz-Credential`"),
        ("another scope", changed("aws4_request", "aws5_request"), "`X-Amz-Credential`"),
        ("another action", changed("Action=GetCallerIdentity", "Action=GetSessionToken"), "`Action`"),
        ("a second action", changed("&Version", "&Action=AssumeRole&Version"), "`Action`"),
        ("another version", changed("2011-06-15", "2099-01-01"), "`Version`"),
        ("another algorithm", changed("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "`X-Amz-Algorithm`"),
        ("a further parameter", changed("&Version", "&RoleArn=arn&Version"), "not known"),
        ("a parameter in lower case", changed("&Version", "&x-amz-date=1&Version"), "not known"),
        ("an empty parameter", changed("&Version", "&&Version"), "not known"),
        ("a further signed header", changed("host%3B", "host%3Bx-amz-meta%3B"), "`X-Amz-SignedHeaders`"),
        ("no signed audience", changed("host%3Bx-mlflow-appliance-audience", "host"), "`X-Amz-SignedHeaders`"),
        ("the audience of EKS", changed("x-mlflow-appliance-audience", "x-k8s-aws-id"), "`X-Amz-SignedHeaders`"),
        ("a long validity", changed("X-Amz-Expires=900", "X-Amz-Expires=43200"), "`X-Amz-Expires`"),
        ("no validity", changed("X-Amz-Expires=900&", ""), "`X-Amz-Expires`"),
        ("a negative validity", changed("X-Amz-Expires=900", "X-Amz-Expires=-900"), "`X-Amz-Expires`"),
        ("an endless validity", changed("X-Amz-Expires=900", "X-Amz-Expires=18446744073709551615"), "`X-Amz-Expires`"),
        ("no date", changed(&format!("{date}&"), ""), "`X-Amz-Date`"),
        ("a date of another day", changed(&date, "X-Amz-Date=20200101T000000Z"), "`X-Amz-Date`"),
        ("a date in words", changed(&date, "X-Amz-Date=yesterday"), "`X-Amz-Date`"),
        ("a date that no clock has", changed(&date, "X-Amz-Date=99999999T999999Z"), "`X-Amz-Date`"),
        ("no signature", changed(&format!("&{signature}"), ""), "`X-Amz-Signature`"),
        ("a short signature", changed(&signature, "X-Amz-Signature=ab"), "`X-Amz-Signature`"),
        ("two signatures", changed(&signature, &format!("{signature}&{signature}")), "`X-Amz-Signature`"),
        ("a session token with a line", changed("X-Amz-Security-Token=", "X-Amz-Security-Token=%0A"), "Security-Token"),
        ("an oversized token", changed("Security-Token=", &format!("Security-Token={}", "A".repeat(12_000))), "longer"),
    ];
    let day = &date["X-Amz-Date=".len()..][..8];
    for (what, other) in [("yesterday", "20200101T000000Z"), ("the far future", "20990101T000000Z")] {
        let moved = url.replace(day, &other[..8]);
        let reason = if what == "yesterday" { "it has expired" } else { "five minutes ahead" };
        table.push((what, of_content(&json!({"audience": AUDIENCE, "url": moved})), reason));
    }
    assert!(table.len() >= 40);
    for (what, forged, reason) in &table {
        let seen = appliance.access_log().len();
        let answer = with(&appliance, &format!("Bearer {forged}"));
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.header("x-appliance-error"), "unauthenticated", "{what}");
        assert_reason(&appliance, seen, reason, what);
    }
    assert_eq!((sts.requests().len(), upstream.requests().len()), (0, 0));
    let log = appliance.log();
    assert!(!log.contains("X-Amz-Signature=") && !appliance.has_panicked(), "{log}");
    assert_eq!(with(&appliance, &format!("Bearer {}", token(&sts))).status, 200, "a genuine token is accepted");
}

#[test]
fn what_sts_rejects_is_rejected_with_its_code_and_without_its_message() {
    let upstream = Upstream::ok();
    for (code, reason) in [
        ("SignatureDoesNotMatch", "the signature is wrong, was made for another audience"),
        ("InvalidClientTokenId", "AWS does not know the access key"),
        ("ExpiredToken", "the AWS credentials that signed it have expired"),
        ("RegionDisabledException", "STS is not active in this region"),
        ("MissingAuthenticationToken", "MissingAuthenticationToken"),
    ] {
        let sts = sts(move |request, wire| wire.answer("403 Forbidden", rejection(request, code)));
        let (appliance, _directory) = start(&upstream, &sts, ROLE);
        let bearer = format!("Bearer {}", token(&sts));
        for _ in 0..3 {
            let seen = appliance.access_log().len();
            assert_eq!(with(&appliance, &bearer).status, 401, "{code}");
            assert_reason(&appliance, seen, reason, code);
            assert_reason(&appliance, seen, code, code);
        }
        assert_eq!(sts.requests().len(), 1, "the rejection is remembered for a moment");
        let log = appliance.log();
        assert!(!log.contains("Canonical String") && !log.contains("X-Amz-Security-Token"), "{log}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn two_spellings_of_a_token_cost_one_call() {
    let (upstream, sts) = (Upstream::ok(), sts(|_, wire| wire.answer("200 OK", identity(JOB))));
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let first = token(&sts);
    let Value::Object(content) = content(&first) else { panic!("an object") };
    let (path, query) = content["url"].as_str().unwrap().split_once('?').unwrap();
    let mut pairs: Vec<&str> = query.split('&').collect();
    assert_eq!(with(&appliance, &format!("Bearer {first}")).status, 200);
    for _ in 0..pairs.len() {
        pairs.rotate_left(1);
        let url = format!("{path}?{}", pairs.join("&"));
        let other = of_content(&json!({"url": url, "audience": AUDIENCE}));
        assert_eq!(with(&appliance, &format!("Bearer {other}")).status, 200);
    }
    assert_eq!(sts.requests().len(), 1);
}
