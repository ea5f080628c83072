//! Rotated and withdrawn keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{ConfigFile, SEARCH, ask, caller_table, issuer_table};
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, eventually, figure, issuer};

#[test]
fn key_rotation_under_load_loses_no_request() {
    const ROTATIONS: usize = 3;
    let upstream = Upstream::ok();
    let first = SigningKey::p256();
    let issuer = TestIssuer::new(&[first.jwk("key-0")]);
    let tables = issuer_table("ci", &issuer, "") + &caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(&upstream, &tables);
    let appliance = file.start();
    // The key that signs, and its number.
    let signer = Arc::new(Mutex::new((Arc::new(first), 0)));
    let (is_over, asked, lost) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let longest = Mutex::new(Duration::ZERO);
    let begun = Instant::now();
    thread::scope(|scope| {
        for caller in 0..4 {
            let (appliance, issuer, signer) = (&appliance, &issuer, Arc::clone(&signer));
            let (is_over, asked, lost, longest) = (&is_over, &asked, &lost, &longest);
            scope.spawn(move || {
                let mut connection = appliance.connect();
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) || begun.elapsed() > 3 * PATIENCE {
                        return;
                    }
                    let (key, id) = signer.lock().unwrap().clone();
                    // Every other token is new, and the rest are remembered.
                    let sub = format!("caller-{caller}-{}", number / 2);
                    let header = json!({"alg": "ES256", "kid": format!("key-{id}")});
                    let bearer = format!("Bearer {}", key.token(&header, &issuer.claims(&json!({"sub": sub}))));
                    let began = Instant::now();
                    let answer = connection.request("POST", SEARCH, &[("Authorization", &bearer)], Some(b"{}"));
                    asked.fetch_add(1, Ordering::Relaxed);
                    lost.fetch_add(usize::from(answer.status != 200), Ordering::Relaxed);
                    let mut longest = longest.lock().unwrap();
                    *longest = began.elapsed().max(*longest);
                }
            });
        }
        let served = |count| {
            let before = asked.load(Ordering::Relaxed);
            eventually("requests with the key", || asked.load(Ordering::Relaxed) >= before + count);
        };
        for number in 1..=ROTATIONS {
            served(100);
            let new = Arc::new(SigningKey::p256());
            let (old, old_id) = signer.lock().unwrap().clone();
            issuer.publish(&[new.jwk(&format!("key-{number}")), old.jwk(&format!("key-{old_id}"))]);
            // It signs at once, without any time in which the new key is only published.
            *signer.lock().unwrap() = (new, number);
        }
        served(100);
        is_over.store(true, Ordering::Relaxed);
    });
    let (asked, lost, longest) = (asked.into_inner(), lost.into_inner(), longest.into_inner().unwrap());
    figure(&format!(
        "key rotation: {ROTATIONS} rotations under {asked} requests, {lost} lost, the longest took {longest:.1?}, {} fetches",
        issuer.fetches()
    ));
    assert_eq!(lost, 0);
    assert!(asked >= 400, "{asked}");
    // The keys are fetched at most every three seconds, so a request waits for no more than one fetch.
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert!(issuer.fetches() <= 2 * ROTATIONS + 2, "{}", issuer.fetches());
}

#[test]
fn a_signal_makes_the_appliance_ask_for_the_keys_at_once() {
    let (upstream, old, new) = (Upstream::ok(), SigningKey::p256(), SigningKey::p256());
    let issuer = TestIssuer::new(&[old.jwk("old")]);
    let tables = issuer_table("ci", &issuer, "") + &caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(&upstream, &tables);
    let appliance = file.start();
    let token = old.token(&json!({"alg": "ES256", "kid": "old"}), &issuer.claims(&json!({})));
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200);
    issuer.publish(&[new.jwk("new")]);
    appliance.signal(Signal::HUP);
    let is_over = || {
        let answer = ask(&appliance, "POST", SEARCH, &token);
        (answer.status == 401).then(|| answer.text())
    };
    eventually("the withdrawn key is forgotten", || is_over().is_some());
    assert!(is_over().unwrap().contains("publishes no key with its `kid`"));
}

#[test]
fn a_withdrawn_key_ends_the_tokens_that_are_remembered() {
    let (upstream, old, new) = (Upstream::ok(), SigningKey::p256(), SigningKey::p256());
    let issuer = TestIssuer::new(&[old.jwk("old")]);
    let tables = issuer_table("ci", &issuer, "") + &caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(&upstream, &tables);
    let appliance = file.start();
    let token = |key: &SigningKey, id: &str| {
        key.token(&json!({"alg": "ES256", "kid": id}), &issuer.claims(&json!({"jti": issuer::now()})))
    };
    let of_old = token(&old, "old");
    for _ in 0..3 {
        assert_eq!(ask(&appliance, "POST", SEARCH, &of_old).status, 200);
    }
    issuer.publish(&[new.jwk("new")]);
    assert_eq!(ask(&appliance, "POST", SEARCH, &of_old).status, 200, "the appliance has not asked again yet");
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&new, "new")).status, 200);
    assert_eq!(ask(&appliance, "POST", SEARCH, &of_old).status, 401, "the key was withdrawn");
    let scrape = appliance.admin("/metrics").text();
    for sample in [
        "appliance_jwt_verifications_total{issuer=\"ci\",result=\"cached\"} 3",
        "appliance_issuer_keys{issuer=\"ci\"} 1",
        "appliance_jwt_remembered 1",
        "appliance_issuer_fetches_total{issuer=\"ci\",result=\"failed\"} 0",
    ] {
        assert!(scrape.contains(sample), "{sample}: {scrape}");
    }
}
