//! Errors of the appliance in a browser: a person gets a page, and a program gets the same JSON as ever.

use super::sessions::{FORM, OWN, PAGE, ask};
use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

#[track_caller]
fn assert_page(answer: &Answer, (status, kind): (u16, &str), texts: &[&str]) {
    let page = answer.text();
    assert_eq!((answer.status, answer.header("x-appliance-error")), (status, kind), "{page}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((answer.header("cache-control"), answer.header("vary")), ("no-store", "accept"));
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("script"), "{policy}");
    let id = answer.header("x-appliance-request-id");
    for text in texts.iter().chain(&[kind, id]) {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("<script"), "{page}");
}

/// Asks as a browser does in its window.
#[track_caller]
fn open(appliance: &Appliance, target: &str, more: &[(&str, &str)]) -> Answer {
    let browser = [("Accept", CHROMIUM), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Mode", "navigate")];
    ask(appliance, "GET", target, &[&browser, more].concat(), None)
}

#[test]
fn a_person_gets_a_page_with_the_message_the_request_id_and_the_next_step() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (reader, elsewhere) = (tokens.add("ada", "read", &[]), tokens.add("bob", "read", &["--targets", "other"]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    let [reader, elsewhere] = [reader.bearer(), elsewhere.bearer()];
    let (reader, elsewhere) = (("Authorization", &*reader), ("Authorization", &*elsewhere));

    let webhooks = "/ajax-api/2.0/mlflow/webhooks";
    let denied = open(&appliance, webhooks, &[reader]);
    let again = "href=\"../../../_appliance/login?next=%2Fajax-api%2F2.0%2Fmlflow%2Fwebhooks\"";
    let texts = [
        "<code>webhooks:list</code> requires the role <code>admin</code>, and yours is <code>read</code>.",
        "Sign in with another token",
        again,
    ];
    assert_page(&denied, (403, "role-too-low"), &texts);
    assert_page(&open(&appliance, "/", &[elsewhere]), (403, "target-not-allowed"), &["You may not use this target"]);
    assert_page(&open(&appliance, "/t/none/", &[reader]), (404, "no-such-target"), &["Show your targets"]);
    let missing = open(&appliance, "/_appliance/none", &[]);
    assert_page(&missing, (404, "no-such-page"), &["href=\"../\">Open the start page"]);
    let forged = [PAGE, FORM, ("Origin", "https://evil.example")];
    let forged = ask(&appliance, "POST", "/_appliance/login", &forged, Some("token=x"));
    assert_page(&forged, (403, "foreign-origin"), &["Access denied"]);
    let huge = ask(&appliance, "POST", "/_appliance/login", &[PAGE, FORM, OWN], Some(&"x".repeat(20_000)));
    assert_page(&huge, (413, "body-too-large"), &["larger than the appliance's limit of 16384 bytes"]);

    // A program, a script of a page, and a frame get what they got before.
    for headers in [
        &[reader][..],
        &[reader, ("Accept", "*/*")],
        &[reader, ("Accept", "application/json, text/html;q=0.5")],
        &[reader, ("Accept", CHROMIUM), ("Sec-Fetch-Dest", "empty")],
        &[reader, ("Accept", CHROMIUM), ("Sec-Fetch-Dest", "iframe")],
    ] {
        let answer = ask(&appliance, "GET", webhooks, headers, None);
        assert_eq!((answer.status, answer.header("content-type")), (403, "application/json"), "{headers:?}");
        let expected = format!(
            "{{\"error_code\":\"PERMISSION_DENIED\",\"message\":\"`webhooks:list` requires the role `admin`, and yours is \
             `read`.\",\"request_id\":\"{}\"}}",
            answer.header("x-appliance-request-id")
        );
        assert_eq!(answer.text(), expected, "{headers:?}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_page_of_an_outage_reloads_by_itself() {
    let closed = Builder::to("https://127.0.0.1:1").start();
    let unreachable = open(&closed, "/", &[]);
    assert_page(&unreachable, (502, "upstream-unreachable"), &["MLflow cannot be reached", "Reload the page"]);
    assert!(unreachable.has("retry-after") && !unreachable.has("refresh"));
    eventually("the circuit opens", || {
        let answer = open(&closed, "/", &[]);
        if answer.header("x-appliance-error") != "upstream-circuit-open" {
            return false;
        }
        let seconds = answer.header("retry-after");
        let hint = format!("reloads by itself every {seconds} seconds");
        assert_page(&answer, (503, "upstream-circuit-open"), &["Temporarily unavailable", &hint]);
        assert_eq!(answer.header("refresh"), seconds);
        true
    });
    assert_eq!(closed.get("/").header("content-type"), "application/json");
}

#[test]
fn without_a_way_to_sign_in_the_page_offers_none() {
    let upstream = Upstream::ok();
    let arguments = ["--allow-anonymous", "--anonymous-role", "read"];
    let appliance = Builder::new(&upstream).with(&arguments).start();
    let denied = open(&appliance, "/ajax-api/2.0/mlflow/webhooks", &[]);
    assert_page(&denied, (403, "role-too-low"), &["send the request id below"]);
    assert!(!denied.text().contains("_appliance/login"), "{}", denied.text());
}
