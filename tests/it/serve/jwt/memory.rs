//! The cost of many callers: memory, and the time of a token that is new beside one that is remembered.

use std::thread;
use std::time::Instant;

use serde_json::json;

use super::{ConfigFile, SEARCH, ask, caller_table, issuer_table};
use crate::support::figure;
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::upstream::Upstream;

const CALLERS: usize = 10_000;
const CONNECTIONS: usize = 4;

#[test]
fn ten_thousand_callers_take_little_memory_and_are_verified_once() {
    let (upstream, key) = (Upstream::ok(), SigningKey::rsa());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let grant = "claim = \"repository=corp/*\"\nname = \"gha-{repository}\"\nrole = \"read\"";
    let file = ConfigFile::new(&upstream, &(issuer_table("ci", &issuer, "") + &caller_table("ci", grant)));
    let appliance = file.start();
    let header = json!({"alg": "RS256", "kid": "k", "typ": "JWT"});
    // These tokens are as long as those of GitHub.
    let rest = "x".repeat(600);
    let token = |number: usize| {
        let claims = json!({"repository": format!("corp/repository-{number}"), "rest": rest, "exp": 4_000_000_000_u64});
        key.token(&header, &issuer.claims(&claims))
    };
    // Paths and connections are warm.
    for number in 0..50 {
        assert_eq!(ask(&appliance, "POST", SEARCH, &token(CALLERS + number)).status, 200);
    }
    let tokens: Vec<String> = (0..CALLERS).map(token).collect();
    let before = appliance.resident();
    let round = || {
        let began = Instant::now();
        thread::scope(|scope| {
            for part in tokens.chunks(CALLERS / CONNECTIONS) {
                let mut connection = appliance.connect();
                scope.spawn(move || {
                    for token in part {
                        let bearer = format!("Bearer {token}");
                        let answer = connection.request("POST", SEARCH, &[("Authorization", &bearer)], Some(b"{}"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                });
            }
        });
        began.elapsed()
    };
    let processor = || appliance.processor_time();
    let (first, used) = (round(), processor());
    let grown = appliance.resident().saturating_sub(before);
    let (second, used_again) = (round(), processor().saturating_sub(used));
    let scrape = appliance.admin("/metrics").text();
    figure(&format!(
        "{CALLERS} callers with JWTs: {} KiB more memory; {first:.1?} with new tokens, {second:.1?} with remembered ones \
         ({:.0?} of the processor per request)",
        grown / 1024,
        used_again / u32::try_from(CALLERS).unwrap()
    ));
    for sample in ["result=\"accepted\"} 10050", "result=\"cached\"} 10000"] {
        assert!(scrape.contains(sample), "{sample}: {scrape}");
    }
    assert!(grown < 24 << 20, "{grown}");
}
