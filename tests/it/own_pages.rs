//! The pages of the appliance itself in a browser: they fit every window, no policy is violated, and no script is needed.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::support::appliance::{Appliance, Builder};
use crate::support::authority::authority;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::{Recorded, Upstream, Wire};

const LOOKS: [(&str, (u32, u32), &str); 3] =
    [("light", (1280, 800), "light"), ("dark", (1280, 800), "dark"), ("phone", (360, 740), "light")];
/// A page of MLflow's, with an icon of its own, so that the browser requests none.
const WELCOME: &str = "<link rel=icon href=data:,><h1>MLflow</h1>";
const HELP: &str = "Ask in #ml-platform for a token.\nHow it works: https://wiki.corp.example/machine-learning/mlflow.";

/// Takes pictures of the page that the browser shows, for people to look at, in each window.
#[track_caller]
fn look(browser: &mut Browser, name: &str) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own-pages");
    std::fs::create_dir_all(&directory).unwrap();
    for (look, size, scheme) in LOOKS {
        browser.look_like(size, scheme);
        browser.picture(&directory.join(format!("{name}-{look}.png")));
        let fits = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(browser.evaluate(fits), true, "{name} fits {look}");
    }
    assert_eq!(browser.evaluate("document.querySelectorAll('h1').length"), 1, "{name}");
    let has_icon = "document.querySelector('link[rel=icon]')?.href.startsWith('data:image/')";
    assert_eq!(browser.evaluate(has_icon), true, "{name} makes no browser ask for /favicon.ico");
    assert_eq!(browser.evaluate("document.querySelectorAll('.primary').length <= 1"), true, "{name}");
    let complaints: Vec<_> = browser.complaints().into_iter().filter(|event| !is_status(event)).collect();
    assert!(complaints.is_empty(), "{name}: {complaints:?}");
}

/// True for the complaint that a page came with the status of an error, as an error page does.
fn is_status(event: &serde_json::Value) -> bool {
    event["params"]["entry"]["text"].as_str().is_some_and(|text| text.contains("the server responded with a status of"))
}

#[track_caller]
fn wait_for_heading(browser: &mut Browser, text: &str) {
    browser.wait_for(&format!(
        "document.readyState === 'complete' && document.querySelector('h1').innerText === '{text}'"
    ));
}

#[track_caller]
fn sign_in(browser: &mut Browser, appliance: &Appliance, token: &Token) {
    browser.open(&format!("{}/_appliance/login", appliance.url()));
    browser.wait_for("document.activeElement.id === 'token'");
    browser.call("Input.insertText", &json!({"text": token.text}));
    browser.press("Enter");
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn the_sign_in_page_fits_every_window_and_shows_the_token_on_request() {
    let mut browser = Browser::start();
    let upstream = Upstream::start(|_, wire| wire.answer("200 OK\r\nContent-Type: text/html", WELCOME));
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--sign-in-help", HELP]).start();
    let login = format!("{}/_appliance/login", appliance.url());

    browser.open(&login);
    wait_for_heading(&mut browser, "Sign in to MLflow");
    look(&mut browser, "sign-in");
    let kind = "document.getElementById('token').type";
    browser.call("Input.insertText", &json!({"text": "mlfa_wrong"}));
    browser.evaluate("document.getElementById('reveal').click()");
    assert_eq!(
        (browser.evaluate(kind), browser.evaluate("document.activeElement.id")),
        (json!("text"), json!("token"))
    );
    assert_eq!(browser.evaluate("document.getElementById('reveal').textContent"), "Hide");
    look(&mut browser, "sign-in-with-the-token-shown");
    browser.press("Enter");
    browser.wait_for("document.querySelector('[role=alert]').textContent.includes('not valid')");
    assert_eq!(browser.evaluate(kind), "password");
    look(&mut browser, "sign-in-failed");

    sign_in(&mut browser, &appliance, &token);
    wait_for_heading(&mut browser, "MLflow");
    browser.open(&format!("{login}?next=%2Fexperiments"));
    wait_for_heading(&mut browser, "Signed in as ada");
    let time = "document.querySelector('time')";
    assert_eq!(browser.evaluate(&format!("{time}.textContent.includes('UTC')")), false, "in the person's time zone");
    look(&mut browser, "signed-in");
    browser.evaluate("document.querySelector('form[action=logout] button').click()");
    browser.wait_for("document.querySelector('[role=status]').textContent.includes('You are signed out')");
    look(&mut browser, "signed-out");

    // The page works without its script.
    browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    sign_in(&mut browser, &appliance, &token);
    wait_for_heading(&mut browser, "MLflow");
    browser.open(&login);
    wait_for_heading(&mut browser, "Signed in as ada");
    assert_eq!(browser.evaluate("document.getElementById('reveal').hidden"), true);
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn an_error_page_fits_every_window_and_a_reload_after_an_outage_leads_back() {
    let mut browser = Browser::start();
    let upstream = Upstream::ok();
    upstream.stop();
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    sign_in(&mut browser, &appliance, &token);
    wait_for_heading(&mut browser, "MLflow cannot be reached");
    look(&mut browser, "error-502");
    for (path, heading, name) in [
        ("/ajax-api/2.0/mlflow/webhooks", "Access denied", "error-403"),
        ("/t/none/", "Page not found", "error-404"),
        ("/_appliance/none", "Page not found", "error-404-reserved"),
    ] {
        browser.open(&format!("{}{path}", appliance.url()));
        wait_for_heading(&mut browser, heading);
        look(&mut browser, name);
    }
    // An error of the same address would be a reload.
    let place = format!("{}/?view#/experiments/1", appliance.url());
    let mut tries = 0;
    while browser.evaluate("document.querySelector('h1').innerText") != "Temporarily unavailable" {
        tries += 1;
        assert!(tries < 50, "the circuit opens");
        browser.open("about:blank");
        browser.open(&place);
        browser.wait_for("document.readyState === 'complete' && document.querySelector('h1') !== null");
    }
    look(&mut browser, "error-503");
    let tls = authority().server("localhost", &[]);
    let page = |_: &Recorded, wire: &mut Wire| wire.answer("200 OK\r\nContent-Type: text/html", WELCOME);
    let _back = Upstream::at(upstream.address(), Some(tls), Arc::new(page));
    let heading = "(document.querySelector('h1') || {}).innerText === 'MLflow'";
    eventually("a reload shows MLflow again", || {
        browser.call("Page.reload", &json!({}));
        browser.wait_for("document.readyState === 'complete' && document.querySelector('h1') !== null");
        browser.evaluate(heading) == true
    });
    assert_eq!(browser.evaluate("location.href"), place, "with the fragment");
}
