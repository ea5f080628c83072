//! Personal tokens that AWS keeps: appliances that share them, and the price of made-up tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::personal::status;
use crate::support::appliance::{Appliance, Builder};
use crate::support::personal::PersonAt;
use crate::support::secrets::Secrets;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, figure};

fn start(upstream: &Upstream, tokens: &TokenFile, secrets: &Secrets) -> Appliance {
    Builder::new(upstream)
        .with_tokens(tokens)
        .with(&["--personal-tokens", "secretsmanager:mlflow-personal"])
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.url())
        .start()
}

#[test]
fn appliances_share_tokens_in_secrets_manager() {
    let (upstream, tokens, secrets) = (Upstream::ok(), TokenFile::new(), Secrets::start());
    let ada = tokens.add("ada", "write", &[]);
    let appliances = [(); 2].map(|()| start(&upstream, &tokens, &secrets));
    for appliance in &appliances {
        eventually("there is no secret yet", || appliance.log().contains("the personal tokens were read"));
    }
    let people = appliances.each_ref().map(|appliance| PersonAt::sign_in(appliance, &ada.text));
    let made: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let person = &people[number % 2];
                scope.spawn(move || person.make(&format!("job-{number}"), "read"))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(secrets.text().matches("[[token]]").count(), 8, "{}", secrets.text());
    for token in &made {
        assert!(!secrets.text().contains(token));
        let began = Instant::now();
        for appliance in &appliances {
            assert_eq!(status(appliance, token), 200);
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    secrets.freeze();
    let answer = people[0].try_to_make("late", "read", "1day");
    assert!(answer.status == 503 && answer.text().contains("AccessDeniedException"), "{}", answer.text());
}

#[test]
fn ten_thousand_made_up_tokens_cause_one_reload_a_second() {
    const TOKENS: usize = 10_000;
    const CONNECTIONS: usize = 64;
    let (upstream, tokens, secrets) = (Upstream::ok(), TokenFile::new(), Secrets::start());
    let ada = tokens.add("ada", "write", &[]);
    let appliance = start(&upstream, &tokens, &secrets);
    let token = PersonAt::sign_in(&appliance, &ada.text).make("laptop", "read");
    let made_up: Vec<String> = (0..TOKENS).map(made_up).collect();
    assert_eq!(status(&appliance, &made_up[0]), 401);
    let (before, began, next) = (secrets.calls("GetSecretValue"), Instant::now(), AtomicUsize::new(0));
    let (longest, valid) = std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = appliance.connect();
                while let Some(token) = made_up.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let headers = [("Authorization", &*format!("Bearer {token}"))];
                    let answer = connection.request("GET", super::callers::SEARCH, &headers, None);
                    assert!(matches!(answer.status, 401 | 429), "{}", answer.status);
                }
            });
        }
        // Valid tokens do not wait meanwhile.
        let (mut longest, mut valid) = (Duration::ZERO, 0);
        while next.load(Ordering::Relaxed) < TOKENS {
            let asked = Instant::now();
            assert_eq!(status(&appliance, &token), 200);
            longest = longest.max(asked.elapsed());
            valid += 1;
        }
        (longest, valid)
    });
    let (reloads, seconds) = (secrets.calls("GetSecretValue") - before, began.elapsed().as_secs_f64());
    figure(&format!(
        "{TOKENS} made-up tokens in {seconds:.1} s: {reloads} reloads; {valid} valid ones took {longest:?} at most"
    ));
    assert!(reloads as f64 <= seconds + 2.0, "{reloads} reloads in {seconds} s");
    // Each would wait for a second if it waited for a reload, as made-up ones do.
    assert!(f64::from(valid) > 3.0 * seconds, "{valid} valid ones in {seconds} s");
    assert!(appliance.resident() < 200 << 20);
}

/// A text that only the list of tokens tells from a token: its check is right.
fn made_up(number: usize) -> String {
    let text = format!("mlfa_{number:010}_{number:032}");
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let check = hash.as_ref()[..6].iter().map(|byte| char::from(alphabet[usize::from(byte % 62)]));
    text.clone() + &check.collect::<String>()
}
