//! Hostile bytes are refused, or passed on in one form that leaves nothing to interpret.

mod corpus;
mod slow;

use std::collections::BTreeMap;

use self::corpus::{Case, Expected};
use crate::support::appliance::{ACCESS_KEY_ID, Appliance, TRACKING_ARN};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message as _, figure};

const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What no caller may choose, whatever it sends.
#[track_caller]
fn assert_is_ours(request: &Recorded, upstream: &Upstream, line: usize) {
    assert_eq!(request.header("host"), upstream.authority(), "line {line}");
    assert_eq!(request.header("x-mlflow-sm-tracking-server-arn"), TRACKING_ARN, "line {line}");
    let authorization = request.header("authorization");
    assert!(authorization.contains(&format!("Credential={ACCESS_KEY_ID}/")), "line {line}: {authorization}");
    assert!(authorization.contains("/us-east-1/sagemaker-mlflow/aws4_request"), "line {line}: {authorization}");
    for name in ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"] {
        assert!(!request.header(name).contains("evil"), "line {line}");
    }
    let allowed =
        ["host", "x-mlflow-sm-tracking-server-arn", "authorization", "date", "content-length", "transfer-encoding"];
    let passed = ["x-a", "x-host", "accept-encoding", "sec-websocket-key", "sec-websocket-version"];
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        let is_known = allowed.contains(&&*name) || passed.contains(&&*name) || name.starts_with("x-amz-");
        assert!(is_known, "line {line}: `{name}: {value}` reached the upstream");
    }
    assert!(!request.has("x-amz-target") && !request.has("x-amz-region-set"), "line {line}");
}

/// Sends a case and the marker; returns the statuses of the answers, and what the upstream saw.
fn attempt(appliance: &Appliance, upstream: &Upstream, case: &Case) -> (Vec<u16>, Vec<Recorded>) {
    let before = upstream.requests().len();
    let mut caller = appliance.connect();
    // The other side may have hung up before everything is sent.
    let _ = caller.send(&case.bytes).and_then(|()| caller.send(MARKER));
    caller.finish();
    let mut statuses = Vec::new();
    while let Ok(answer) = caller.answer(false) {
        statuses.push(answer.status);
    }
    (statuses, upstream.requests().split_off(before))
}

#[test]
fn nothing_is_understood_in_two_ways() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut counts = BTreeMap::<&str, [usize; 2]>::new();
    let cases = corpus::read();
    for case in &cases {
        let line = case.line;
        let (statuses, seen) = attempt(&appliance, &upstream, case);
        for request in &seen {
            assert_is_ours(request, &upstream, line);
        }
        let mut targets: Vec<&str> = seen.iter().map(|request| request.target.as_str()).collect();
        if targets.last() == Some(&"/marker") {
            targets.pop();
        }
        match &case.expected {
            Expected::Refused => {
                assert!(targets.is_empty(), "line {line}: {targets:?} got through");
                let first = statuses.first().copied().unwrap_or(400);
                let is_page = case.class == "CL.0" && first == 200;
                assert!((400..=505).contains(&first) || is_page, "line {line}: answered with {statuses:?}");
            }
            Expected::Passes { target, body } => {
                assert_eq!(targets, [target.as_str()], "line {line}: {statuses:?}");
                assert_eq!(String::from_utf8_lossy(&seen[0].body), *body, "line {line}");
                assert_eq!(statuses.first(), Some(&200), "line {line}");
            }
        }
        let passed = usize::from(matches!(case.expected, Expected::Passes { .. }));
        counts.entry(&case.class).or_default()[passed] += 1;
    }
    assert_eq!(appliance.get("/alive").status, 200);
    let total = |which: usize| counts.values().map(|count| count[which]).sum::<usize>();
    assert!(counts.len() >= 14 && cases.len() >= 180, "the corpus was read: {} in {}", cases.len(), counts.len());
    let by_class: Vec<_> =
        counts.iter().map(|(class, [refused, passed])| format!("{class} {refused}+{passed}")).collect();
    figure(&format!(
        "hostile requests: {} in {} classes, {} refused, {} passed in one form, 0 smuggled (refused+passed: {})",
        cases.len(),
        counts.len(),
        total(0),
        total(1),
        by_class.join(", ")
    ));
}

#[test]
fn floods_do_not_grow_memory() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let head = "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(appliance.get("/warm").status, 200);
    let before = appliance.resident();
    for (what, start, piece) in [
        ("chunk extensions", format!("{head}5;"), vec![b'a'; 64 * 1024]),
        ("chunk sizes", head.to_owned(), vec![b'0'; 64 * 1024]),
        ("trailers", format!("{head}0\r\n"), b"X-Trailer: 1\r\n".repeat(4096)),
        ("a header", "GET /a HTTP/1.1\r\nHost: localhost\r\nX-A: ".to_owned(), vec![b'a'; 64 * 1024]),
        ("empty lines", String::new(), b"\r\n".repeat(32 * 1024)),
    ] {
        let mut caller = appliance.connect();
        caller.send(&start).unwrap();
        let accepted = (0..1000).take_while(|_| caller.send(&piece).is_ok()).count();
        let grown = appliance.resident().saturating_sub(before);
        assert!(grown < 24 << 20, "{what}: {grown} bytes after {accepted} pieces");
    }
    assert_eq!(upstream.requests().iter().filter(|request| request.target == "/a").count(), 0);
    assert_eq!(appliance.get("/alive").status, 200);
}

#[test]
fn sixty_thousand_requests_at_once_are_answered_in_order() {
    const REQUESTS: usize = 60_000;
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let before = appliance.resident();
    let mut caller = appliance.connect();
    let mut writer = caller.writer();
    let sender = std::thread::spawn(move || {
        use std::io::Write as _;
        writer.write_all("GET /_appliance/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS).as_bytes())
    });
    let answered = (0..REQUESTS).filter(|_| caller.answer(false).is_ok_and(|answer| answer.status == 200)).count();
    sender.join().unwrap().unwrap();
    assert_eq!(answered, REQUESTS);
    let grown = appliance.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes, whatever the number of requests");
}
