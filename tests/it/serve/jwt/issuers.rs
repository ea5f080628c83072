//! Issuers that are down, slow or lying.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ConfigFile, SEARCH, ask, caller_table, event, issuer_table};
use crate::support::appliance::Appliance;
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::upstream::{Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually, figure};

fn start(upstream: &Upstream, issuer: &TestIssuer) -> (Appliance, ConfigFile) {
    let tables = issuer_table("ci", issuer, "") + &caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(upstream, &tables);
    (file.start(), file)
}

fn token(key: &SigningKey, id: &str, issuer: &TestIssuer, sub: &str) -> String {
    key.token(&json!({"alg": "ES256", "kid": id}), &issuer.claims(&json!({"sub": sub})))
}

#[test]
fn callers_with_known_keys_are_accepted_while_their_issuer_is_down() {
    let (upstream, key, new) = (Upstream::ok(), SigningKey::p256(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let (appliance, _file) = start(&upstream, &issuer);
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", &issuer, "ada")).status, 200);
    let fetches = issuer.fetches();
    issuer.server.stop();
    for number in 0..50 {
        let token = token(&key, "k", &issuer, &format!("user-{number}"));
        assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200, "a new token with a known key");
    }
    let answer = ask(&appliance, "POST", SEARCH, &token(&new, "new", &issuer, "ada"));
    assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "issuer-unavailable"), "{}", answer.text());
    assert!(answer.has("retry-after"));
    let event = event(&appliance, &answer);
    assert!(event["cause"].as_str().unwrap().contains("issuer `ci`"), "{event}");
    assert_eq!((&event["issuer"], issuer.fetches()), (&json!("ci"), fetches));
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", &issuer, "bob")).status, 200);
    assert!(appliance.log().contains("cannot fetch the keys of an issuer"));
    assert_eq!(appliance.get("/_appliance/readyz").status, 200, "other callers do not need the issuer");
}

#[test]
fn requests_wait_for_a_slow_issuer() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    issuer.intercept(|_, _| {
        thread::sleep(Duration::from_millis(1500));
        None
    });
    let (appliance, _file) = start(&upstream, &issuer);
    let token = token(&key, "k", &issuer, "ada");
    thread::scope(|scope| {
        let asked: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&appliance, "POST", SEARCH, &token).status)).collect();
        assert!(asked.into_iter().all(|asked| asked.join().unwrap() == 200));
    });
    assert!(issuer.fetches() <= 2, "{}", issuer.fetches());
}

#[test]
fn an_issuer_with_tls_has_to_be_trusted_and_may_not_send_the_appliance_to_this_machine() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::secure(&[key.jwk("k")]);
    let (appliance, file) = start(&upstream, &issuer);
    let token = token(&key, "k", &issuer, "ada");
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200);

    let text = std::fs::read_to_string(file.path()).unwrap();
    let distrustful: Vec<&str> = text.lines().filter(|line| !line.starts_with("ca-file")).collect();
    std::fs::write(file.path(), distrustful.join("\n")).unwrap();
    let appliance = file.start();
    let answer = ask(&appliance, "POST", SEARCH, &token);
    assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "issuer-unavailable"));
    assert!(appliance.log().contains("TLS handshake with"), "{}", appliance.log());

    std::fs::write(file.path(), text).unwrap();
    let plain = TestIssuer::new(&[key.jwk("k")]);
    let keys = format!("{}/keys", plain.url());
    issuer.intercept(move |request, wire| {
        let body = json!({"issuer": format!("https://{}", request.header("host")), "jwks_uri": keys});
        Some(wire.answer("200 OK", body.to_string()))
    });
    let appliance = file.start();
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 503);
    eventually("the reason is logged", || {
        appliance.log().contains("`jwks_uri` in the discovery document: the URL must")
    });
    assert_eq!(plain.server.requests().len(), 0);
}

/// The ways in which an issuer may lie, each with the reason in the log.
type Lie = (&'static str, fn(&Recorded, &mut Wire) -> Option<std::io::Result<()>>);

const LIES: [Lie; 11] = [
    ("is that of the issuer `https://other.example`", |request, wire| {
        let body = json!({"issuer": "https://other.example", "jwks_uri": "http://localhost/keys"});
        request.target.contains("well-known").then(|| wire.answer("200 OK", body.to_string()))
    }),
    ("not an object of JSON with an `issuer`", |_, wire| {
        Some(wire.answer("200 OK", "<!DOCTYPE html><title>Sign in</title>"))
    }),
    ("redirects are not followed", |_, wire| {
        Some(wire.send("HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n"))
    }),
    ("the status 500", |_, wire| Some(wire.answer("500 Internal Server Error", "{}"))),
    ("larger than", |_, wire| Some(wire.answer("200 OK", " ".repeat(300 * 1024)))),
    ("did not arrive completely", |_, wire| {
        let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"issuer\"");
        Some(Err(wire.close()))
    }),
    ("cannot fetch", |_, wire| Some(Err(wire.reset()))),
    ("`jwks_uri` in the discovery document: plain http is allowed to this machine only", |request, wire| {
        let host = request.header("host");
        let body = json!({"issuer": format!("http://{host}"), "jwks_uri": "http://169.254.169.254/latest/meta-data"});
        request.target.contains("well-known").then(|| wire.answer("200 OK", body.to_string()))
    }),
    ("is not a JSON Web Key Set", |request, wire| {
        (request.target == "/keys").then(|| wire.answer("200 OK", "{\"keys\": {}}"))
    }),
    ("none of its keys can verify a signature: its type or its curve is not supported", |request, wire| {
        let keys = json!({"keys": [{"kty": "oct", "kid": "k", "k": "AAAA"}]});
        (request.target == "/keys").then(|| wire.answer("200 OK", keys.to_string()))
    }),
    ("it has more than 100 keys", |request, wire| {
        let keys = json!({"keys": vec![json!({"kty": "oct"}); 101]});
        (request.target == "/keys").then(|| wire.answer("200 OK", keys.to_string()))
    }),
];

#[test]
fn an_issuer_that_lies_is_not_believed_and_is_asked_again() {
    thread::scope(|scope| {
        for (expected, lie) in LIES {
            scope.spawn(move || {
                let (upstream, key) = (Upstream::ok(), SigningKey::p256());
                let issuer = TestIssuer::new(&[key.jwk("k")]);
                issuer.intercept(lie);
                let (appliance, _file) = start(&upstream, &issuer);
                let token = token(&key, "k", &issuer, "ada");
                let answer = ask(&appliance, "POST", SEARCH, &token);
                assert_eq!(
                    (answer.status, answer.header("x-appliance-error")),
                    (503, "issuer-unavailable"),
                    "{expected}"
                );
                eventually(expected, || appliance.log().contains(expected));
                issuer.behave();
                let ok = || ask(&appliance, "POST", SEARCH, &token).status == 200;
                eventually("the issuer is believed again", ok);
            });
        }
    });
}

#[test]
fn a_flood_of_invented_keys_causes_few_fetches_and_rejects_no_valid_caller() {
    const STRANGERS: usize = 300;
    let (upstream, key, new) = (Upstream::ok(), SigningKey::p256(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let (appliance, _file) = start(&upstream, &issuer);
    let known = token(&key, "k", &issuer, "ada");
    assert_eq!(ask(&appliance, "POST", SEARCH, &known).status, 200);
    let before = issuer.fetches();
    let began = Instant::now();
    let (waited, rotated) = thread::scope(|scope| {
        let storm: Vec<_> = (0..STRANGERS)
            .map(|number| {
                let (appliance, token) = (&appliance, token(&new, &format!("made-up-{number}"), &issuer, "x"));
                scope.spawn(move || ask(appliance, "POST", SEARCH, &token).status)
            })
            .collect();
        let asked = Instant::now();
        assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", &issuer, "bob")).status, 200);
        let waited = asked.elapsed();
        // The others wait for the next fetch, three seconds after the first.
        assert!(waited < Duration::from_secs(2), "{waited:?}");
        issuer.publish(&[key.jwk("k"), new.jwk("new")]);
        let rotated = ask(&appliance, "POST", SEARCH, &token(&new, "new", &issuer, "bob")).status;
        assert!(storm.into_iter().all(|stranger| stranger.join().unwrap() == 401));
        (waited, rotated)
    });
    let fetched = issuer.fetches() - before;
    figure(&format!(
        "made-up keys: {STRANGERS} at once caused {fetched} fetches in {:.1?}; a caller with a known key waited {waited:.1?}",
        began.elapsed()
    ));
    assert_eq!(rotated, 200, "a caller with a new key");
    assert!((1..=4).contains(&fetched), "{fetched}");
}
