//! Signals under load interrupt no request. `tests/system/soak` replaces whole processes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::appliance::Builder;
use crate::support::figure;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

#[test]
fn a_hundred_reloads_interrupt_no_request() {
    let upstream = Upstream::ok();
    let file = TokenFile::new();
    let token = file.add("ci", "write", &[]);
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log");
    let appliance = Builder::new(&upstream).with_tokens(&file).with(&["--audit-log", audit.to_str().unwrap()]).start();
    let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut caller = appliance.connect();
                let bearer = token.bearer();
                while !is_over.load(Ordering::SeqCst) {
                    let answer = caller.request(
                        "POST",
                        "/api/2.0/mlflow/runs/create",
                        &[("Authorization", &bearer)],
                        Some(b"{}"),
                    );
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 0..100 {
            if number % 10 == 0 {
                file.add(&format!("more-{number}"), "read", &[]);
            }
            appliance.signal(Signal::HUP);
            thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent > 100, "there was load: {sent}");
    assert_eq!(upstream.requests().len(), sent, "each was sent once");
    figure(&format!("reloads: 100 SIGHUP during {sent} requests, none failed"));
}
