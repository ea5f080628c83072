//! STS is down, slow or flooded: callers that were confirmed before notice nothing, and no client takes all calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::callers::{SEARCH, with};
use super::{AUDIENCE, JOB, ROLE, builder, content, identity, of_content, rejection, start, sts, token};
use crate::support::appliance::{Appliance, command};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, figure};

#[test]
fn callers_that_were_confirmed_before_notice_no_outage_of_sts() {
    let (upstream, is_down) = (Upstream::ok(), Arc::new(AtomicBool::new(false)));
    let down = Arc::clone(&is_down);
    let sts = sts(move |_, wire| {
        if down.load(Ordering::SeqCst) {
            return wire.answer("503 Service Unavailable", "<Error><Code>ServiceUnavailable</Code></Error>");
        }
        wire.answer("200 OK", identity(JOB))
    });
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let (known, new) =
        (format!("Bearer {}", token(&sts)), format!("Bearer {}", super::token_with(&sts, &["--expires", "14m"])));
    assert_eq!(with(&appliance, &known).status, 200);
    is_down.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let answer = with(&appliance, &new);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-appliance-error"), "sts-unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(with(&appliance, &known).status, 200, "it needs no STS");
    }
    assert!(appliance.log().contains("cannot confirm an AWS identity"), "{}", appliance.log());
    is_down.store(false, Ordering::SeqCst);
    assert_eq!(with(&appliance, &new).status, 200, "an outage is not remembered as a rejection");
}

#[test]
fn an_unreachable_or_invalid_sts_confirms_no_token() {
    let upstream = Upstream::ok();
    let garbage = sts(|_, wire| wire.answer("200 OK", "<html>Welcome to the hotel</html>"));
    let login = sts(|_, wire| wire.answer("403 Forbidden", "<html>blocked</html>"));
    let huge = sts(|_, wire| wire.answer("200 OK", format!("{}{}", "x".repeat(70_000), identity(JOB))));
    let cut = sts(|_, wire| wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n<Arn>").and(Err(wire.close())));
    let gone = sts(|_, wire| wire.answer("200 OK", ""));
    gone.stop();
    for (what, sts) in [("garbage", garbage), ("login", login), ("huge", huge), ("cut", cut), ("gone", gone)] {
        let (appliance, _directory) = start(&upstream, &sts, ROLE);
        let answer = with(&appliance, &format!("Bearer {}", token(&sts)));
        assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "sts-unavailable"), "{what}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn requests_with_one_token_share_one_call_and_do_not_wait_for_ever() {
    let upstream = Upstream::ok();
    let is_stuck = Arc::new(AtomicBool::new(false));
    let stuck = Arc::clone(&is_stuck);
    let sts = sts(move |_, wire| {
        std::thread::sleep(if stuck.load(Ordering::SeqCst) {
            Duration::from_secs(30)
        } else {
            Duration::from_millis(300)
        });
        wire.answer("200 OK", identity(JOB))
    });
    let (appliance, _directory) = start(&upstream, &sts, ROLE);
    let bearer = format!("Bearer {}", token(&sts));
    let statuses = at_once(&appliance, 40, |_| (bearer.clone(), None));
    assert_eq!((statuses, sts.requests().len()), (vec![200; 40], 1));
    is_stuck.store(true, Ordering::SeqCst);
    let other = format!("Bearer {}", super::token_with(&sts, &["--expires", "10m"]));
    let began = Instant::now();
    assert_eq!(at_once(&appliance, 5, |_| (other.clone(), None)), vec![503; 5]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(with(&appliance, &bearer).status, 200);
}

#[test]
fn made_up_tokens_from_one_address_leave_most_calls_to_others() {
    const FORGERIES: usize = 300;
    let upstream = Upstream::ok();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&running), Arc::clone(&most));
    let sts = sts(move |request, wire| {
        let (running, most) = &counts;
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        running.fetch_sub(1, Ordering::SeqCst);
        if request.target.contains("X-Amz-Signature=0000") {
            return wire.answer("403 Forbidden", rejection(request, "SignatureDoesNotMatch"));
        }
        wire.answer("200 OK", identity(JOB))
    });
    let (builder, _directory) = builder(&upstream, &sts, "trusted-proxies = \"127.0.0.1\"\n", ROLE);
    let appliance = builder.start();
    let genuine = content(&token(&sts));
    let (before, _) = genuine["url"].as_str().unwrap().split_once("X-Amz-Signature=").unwrap();
    let forgery = |number: usize| {
        let url = format!("{before}X-Amz-Signature={number:064}");
        format!("Bearer {}", of_content(&json!({"audience": AUDIENCE, "url": url})))
    };
    let good = format!("Bearer {}", of_content(&genuine));
    let (statuses, took) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| at_once(&appliance, FORGERIES, |number| (forgery(number), Some("192.0.2.1"))));
        crate::support::eventually("the flood arrives", || running.load(Ordering::SeqCst) >= 4);
        let began = Instant::now();
        let headers = [("Authorization", good.as_str()), ("X-Forwarded-For", "198.51.100.7")];
        let answer = appliance.connect().request("GET", SEARCH, &headers, None);
        assert_eq!(answer.status, 200);
        let took = began.elapsed();
        (flood.join().unwrap(), took)
    });
    let counted = statuses.iter().fold(HashMap::<u16, usize>::new(), |mut counted, status| {
        *counted.entry(*status).or_default() += 1;
        counted
    });
    figure(&format!("{FORGERIES} forged AWS tokens: {counted:?}; a genuine one was confirmed in {took:?}"));
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{counted:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let most = most.load(Ordering::SeqCst);
    assert!((4..=5).contains(&most), "{most} calls at once, four for the address of the flood");
}

#[test]
fn check_reaches_the_sts_of_every_region() {
    let (upstream, sts) = (Upstream::ok(), sts(|_, wire| wire.answer("200 OK", identity(JOB))));
    let (_builder, directory) = builder(&upstream, &sts, "", ROLE);
    let file = directory.path().join("appliance.toml");
    let check = || {
        let output = command(&["check", "--json", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .env("AWS_ENDPOINT_URL_STS", sts.url())
            .output()
            .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        let of_sts = findings.iter().filter(|finding| {
            let text = finding["text"].as_str().unwrap();
            finding["check"] == "connection" || text.starts_with("STS")
        });
        (of_sts.map(|finding| finding["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), findings)
    };
    let (outcomes, findings) = check();
    assert_eq!(outcomes, ["ok", "ok", "ok"], "{findings:?}");
    assert!(
        findings.iter().any(|finding| finding["text"].as_str().unwrap().contains("AWS identities")),
        "{findings:?}"
    );
    sts.stop();
    let (outcomes, findings) = check();
    assert!(outcomes.contains(&"failure".to_owned()), "{findings:?}");
}

/// Sends requests at once, each with its credential and an address that a proxy states, and returns their statuses.
fn at_once(
    appliance: &Appliance,
    count: usize,
    of: impl Fn(usize) -> (String, Option<&'static str>) + Sync,
) -> Vec<u16> {
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..count {
            let (statuses, of) = (&statuses, &of);
            scope.spawn(move || {
                let (bearer, client) = of(number);
                let mut headers = vec![("Authorization", bearer.as_str())];
                headers.extend(client.map(|client| ("X-Forwarded-For", client)));
                let status = appliance.connect().request("GET", SEARCH, &headers, None).status;
                statuses.lock().unwrap().push(status);
            });
        }
    });
    statuses.into_inner().unwrap()
}
