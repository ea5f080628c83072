//! Hostile input: every case of the corpus is rejected, or has one meaning for everyone.
//!
//! Each request goes out on a connection of its own with a well-formed one right behind it. If the two ends of the
//! appliance disagreed on where a request ends, a part of it would turn up at the upstream as a request.

mod corpus;
mod long_heads;
mod oversized;
mod slow;

use std::collections::BTreeMap;

use crate::support::appliance::{ACCESS_KEY_ID, Appliance, Builder, SESSION_TOKEN, TRACKING_ARN};
use crate::support::caller::Answer;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message as _, figure};
use corpus::Case;

/// The request that follows each hostile request on its connection.
const MARKER: &str = "GET /marker HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Names the target that an answer answers.
const ECHO: &str = "x-echo";

/// An upstream that says in its answer to what.
fn echo() -> Upstream {
    Upstream::plain(|request, wire| {
        let body = if request.method == "HEAD" { "" } else { "{}" };
        let target = &request.target[..request.target.len().min(1000)];
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{ECHO}: {target}\r\n\r\n{body}"))
    })
}

/// The responses on one connection to a hostile request, with a flag that says if the marker was answered.
struct Heard {
    answers: Vec<Answer>,
    marker: bool,
}

fn provoke(appliance: &Appliance, case: &Case) -> Heard {
    let mut caller = appliance.connect();
    // A listener that has refused already may cut the connection while the rest is on its way.
    let _ = caller.send([case.wire.as_slice(), MARKER.as_bytes()].concat());
    let mut heard = Heard { answers: Vec::new(), marker: false };
    let is_head = case.wire.starts_with(b"HEAD ");
    while let Ok(answer) = caller.answer(is_head && heard.answers.is_empty()) {
        if answer.all(ECHO) == ["/marker"] {
            heard.marker = true;
            break;
        }
        // The listener waits a while for a caller who would lose the answer if the connection were cut under a write.
        if answer.all("connection") == ["close"] {
            caller.finish();
        }
        heard.answers.push(answer);
    }
    heard
}

/// The headers of a request that the caller has a say in. Those of the appliance are checked and left out.
#[track_caller]
fn fields_of_the_caller(name: &str, seen: &Recorded, upstream: &Upstream) -> Vec<(String, String)> {
    assert_eq!(seen.header("host"), upstream.authority(), "{name}");
    assert_eq!(seen.header("x-mlflow-sm-tracking-server-arn"), TRACKING_ARN, "{name}");
    assert_eq!(seen.header("x-amz-security-token"), SESSION_TOKEN, "{name}");
    assert_eq!(seen.header("x-amz-date").len(), "20260101T000000Z".len(), "{name}");
    assert_eq!(seen.header("x-amz-content-sha256").len(), 64, "{name}");
    let authorization = seen.header("authorization");
    let identity = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/");
    assert!(authorization.starts_with(&identity), "{name}: {authorization}");
    assert!(authorization.contains("/us-east-1/sagemaker-mlflow/aws4_request"), "{name}: {authorization}");
    assert!(seen.all("date").is_empty(), "{name}: {seen:?}");
    let lengths: Vec<usize> = seen.all("content-length").iter().map(|length| length.parse().unwrap()).collect();
    assert!(lengths == [seen.body.len()] || lengths.is_empty() && seen.body.is_empty(), "{name}: {seen:?}");
    let ours = [
        "authorization",
        "content-length",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-mlflow-sm-tracking-server-arn",
    ];
    let fields = seen.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| !ours.contains(&name.as_str())).collect();
    fields.sort();
    fields
}

#[track_caller]
fn check(case: &Case, heard: &Heard, seen: &[Recorded], upstream: &Upstream) {
    let name = &case.name;
    let statuses: Vec<u16> = heard.answers.iter().map(|answer| answer.status).collect();
    let (markers, seen): (Vec<&Recorded>, Vec<&Recorded>) = seen.iter().partition(|seen| seen.target == "/marker");
    let targets: Vec<String> = seen.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    let expected: Vec<String> = case.seen.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(targets, expected, "{name}: the requests that were seen; answers {statuses:?}");
    for (seen, expected) in seen.iter().zip(&case.seen) {
        assert_eq!(fields_of_the_caller(name, seen, upstream), expected.fields, "{name}: the headers");
        let (seen, expected) = (String::from_utf8_lossy(&seen.body), String::from_utf8_lossy(&expected.body));
        assert!(seen == expected, "{name}: the body is {seen:?}");
    }
    if case.seen.is_empty() {
        match (case.status, statuses.as_slice()) {
            (Some(status), [only]) => assert_eq!(*only, status, "{name}"),
            (None, []) => {}
            (None, [only]) => assert!((400..500).contains(only), "{name}: {only}"),
            _ => panic!("{name}: answers {statuses:?}"),
        }
    } else if case.status.is_some() {
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, case.seen.len(), "{name}: one answer for each request that was seen: {statuses:?}");
    }
    assert_eq!((heard.marker, markers.len()), (case.stays_open, usize::from(case.stays_open)), "{name}: what follows");
}

#[test]
fn hostile_requests_are_rejected_or_have_one_meaning_for_everyone() {
    let upstream = echo();
    let limits = ["--body-idle-timeout", "1s", "--head-timeout", "1s", "--keep-alive", "1s"];
    let sizes = ["--body-size-limit", "1 MiB"];
    let appliance = Builder::new(&upstream).with(&limits).with(&sizes).start();
    let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let cases = corpus::cases();
    let mut failures = Vec::new();
    for case in &cases {
        let before = upstream.requests().len();
        let heard = provoke(&appliance, case);
        let seen = upstream.requests().split_off(before);
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(case, &heard, &seen, &upstream)));
        failures.extend(verdict.err().map(|_| case.name.as_str()));
        let (refused, passed) = classes.entry(&case.class).or_default();
        *(if seen.iter().all(|seen| seen.target == "/marker") { refused } else { passed }) += 1;
    }
    assert!(failures.is_empty(), "{} of {} failed: {failures:#?}", failures.len(), cases.len());

    // The rest of a request would arrive late, so this check comes after everything else.
    assert_eq!(appliance.get("/last").status, 200, "the appliance goes on");
    let smuggled = upstream.requests().iter().filter(|seen| seen.target.contains("smuggled")).count();
    assert_eq!(smuggled, 0);
    let (refused, passed) = classes.values().fold((0, 0), |sum, class| (sum.0 + class.0, sum.1 + class.1));
    assert_eq!(refused + passed, cases.len());
    figure(&format!(
        "hostile input: {} attempts in {} classes, {refused} refused, {passed} passed in normal form, {smuggled} smuggled",
        cases.len(),
        classes.len(),
    ));
    for (class, (refused, passed)) in classes {
        assert!(refused + passed > 0, "{class}");
        figure(&format!("hostile input: {class}: {refused} refused, {passed} passed in normal form"));
    }
}
