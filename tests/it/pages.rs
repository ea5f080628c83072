//! A person's way to MLflow's own page: a link to a place within it, the question for a token, and that place.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::appliance::Appliance;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::python;
use crate::support::sandbox::Sandbox;
use crate::support::tokens::{Token, TokenFile, call_mlflow};

/// MLflow's page has megabytes of scripts, and a server in Python behind it.
const RENDERING: Duration = Duration::from_secs(90);
const RUN: &str = "a-run-to-find-again";

/// Pictures of what is tested, for people to look at.
fn pictures() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mlflow-page");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Makes a run with something to see in it, and returns where MLflow's page shows it.
fn place(appliance: &Appliance, token: &Token) -> String {
    let experiment =
        call_mlflow(appliance, token, "", "experiments/create", &json!({"name": "linked"}))["experiment_id"].clone();
    let question = json!({"experiment_id": experiment, "run_name": RUN, "start_time": 1_700_000_000_000_u64});
    let run = call_mlflow(appliance, token, "", "runs/create", &question)["run"]["info"]["run_id"].clone();
    let metric =
        json!({"run_id": run, "key": "accuracy", "value": 0.9375, "timestamp": 1_700_000_000_000_u64, "step": 1});
    call_mlflow(appliance, token, "", "runs/log-metric", &metric);
    call_mlflow(appliance, token, "", "runs/log-parameter", &json!({"run_id": run, "key": "depth", "value": "seven"}));
    format!("#/experiments/{}/runs/{}", experiment.as_str().unwrap(), run.as_str().unwrap())
}

/// Types a token into the page that asks for one, and sends it.
fn give(browser: &mut Browser, token: &str) {
    browser.wait_for("document.activeElement.id === 'token'");
    browser.call("Input.insertText", &json!({"text": token}));
    browser.press("Enter");
}

#[track_caller]
fn assert_asks(browser: &mut Browser, hash: &str) {
    browser.wait_for("document.readyState === 'complete' && location.pathname === '/_appliance/login'");
    assert_eq!(browser.evaluate("location.hash"), hash, "the browser keeps what no server is told");
}

#[track_caller]
fn assert_shows(browser: &mut Browser, address: &str) {
    browser.wait_up_to(RENDERING, &format!("location.pathname + location.search + location.hash === '{address}'"));
    for said in [RUN, "accuracy", "0.9375", "depth", "seven"] {
        browser.wait_up_to(RENDERING, &format!("document.body.innerText.includes('{said}')"));
    }
}

#[test]
#[ignore = "needs tests/run: Chromium and a Python environment with MLflow, botocore and moto"]
fn a_link_into_mlflow_leads_there_after_signing_in() {
    let (bin, mut browser) = (python::environment(), Browser::start());
    let sandbox = Sandbox::start(&bin, &[]);
    let (file, tokens) = (sandbox.configuration(), TokenFile::new());
    let token = tokens.add("ada", "write", &[]);
    let appliance = sandbox.serve(file.path()).with_tokens(&tokens).start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    let (url, hash) = (appliance.url(), place(&appliance, &token));
    browser.look_like((1280, 900), "light");

    // An unauthenticated client, then one with a wrong token, then one with a valid token.
    browser.open(&format!("{url}/?from=a%20mail{hash}"));
    assert_asks(&mut browser, &hash);
    browser.picture(&pictures().join("asked.png"));
    give(&mut browser, "mlfa_mistyped");
    browser.wait_for("document.querySelector('[role=alert]').textContent.includes('not valid')");
    assert_asks(&mut browser, &hash);
    browser.picture(&pictures().join("mistyped.png"));
    give(&mut browser, &token.text);
    assert_shows(&mut browser, &format!("/?from=a%20mail{hash}"));
    browser.picture(&pictures().join("run.png"));
    assert_eq!(browser.evaluate("document.cookie"), "", "scripts do not see the session");

    // MLflow's page may use the session, also for changes, and no other page can.
    let change = "fetch('ajax-api/2.0/mlflow/runs/set-tag', {method: 'POST', headers: {'Content-Type': 'application/json'}, \
                  body: JSON.stringify({run_id: location.hash.split('/').pop(), key: 'seen', value: 'yes'})}).then((answer) => answer.status)";
    assert_eq!(browser.evaluate(change), 200);
    browser.open(&format!("{}/#/", sandbox.text("mlflow")));
    browser
        .wait_up_to(RENDERING, "document.readyState === 'complete' && document.body.innerText.includes('Experiments')");
    let foreign = format!(
        "fetch('{url}/ajax-api/2.0/mlflow/runs/delete', {{method: 'POST', mode: 'no-cors', credentials: 'include', \
         body: '{{}}'}}).then((answer) => answer.type)"
    );
    assert_eq!(browser.evaluate(&foreign), "opaque");
    appliance
        .saw("the other page's attempt", |event| event["error_code"] == "foreign-origin" && event["status"] == 403);

    // Signed out, another link, to a target by its name and without the slash at its end.
    browser.open(&format!("{url}/_appliance/login"));
    browser.wait_for("document.querySelectorAll('form').length === 2");
    // The page that follows has the same address; going elsewhere before it came would call the signing out off.
    browser.evaluate("isOld = true; document.querySelector('form[action=\"logout\"] button').click()");
    browser
        .wait_for("!window.isOld && document.readyState === 'complete' && location.pathname === '/_appliance/login'");
    for address in ["/t/serverless/", "/t/serverless"] {
        browser.open(&format!("{url}{address}{hash}"));
        if address.ends_with('/') {
            assert_asks(&mut browser, &hash);
            give(&mut browser, &token.text);
        }
        assert_shows(&mut browser, &format!("/t/serverless/{hash}"));
        browser.picture(&pictures().join("run-of-a-named-target.png"));
    }

    // The token is revoked while the page is open: after another one, the page is where it was.
    let other = tokens.add("bob", "read", &[]);
    tokens.command(&["revoke", "ada"]);
    appliance.signal(Signal::HUP);
    let is_out = || appliance.connect().request("GET", "/version", &[("Authorization", &*token.bearer())], None);
    eventually("the token is revoked", || is_out().status == 401);
    browser.call("Page.reload", &json!({}));
    assert_asks(&mut browser, &hash);
    give(&mut browser, &other.text);
    assert_shows(&mut browser, &format!("/t/serverless/{hash}"));

    let asked = browser.requested();
    assert!(asked.iter().any(|asked| asked.starts_with(&format!("{url}/t/serverless/static-files/"))), "{asked:?}");
    let sent = appliance.access_log();
    let is_of =
        |event: &Value, name: &str| event["mlflow"] == name && event["caller"] == "ada" && event["status"] == 200;
    assert!(sent.iter().any(|event| is_of(event, "serverless")) && sent.iter().any(|event| is_of(event, "tracking")));
    assert!(!appliance.log().contains(&token.text));
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn the_page_to_sign_out_is_the_page_to_sign_in() {
    let mut browser = Browser::start();
    // With an icon of its own, so that the browser asks for none that a reader may not have.
    let upstream = crate::support::upstream::Upstream::start(|_, wire| {
        wire.answer("200 OK\r\nContent-Type: text/html", "<link rel=icon href=data:,><p>welcome</p>")
    });
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "read", &[]);
    let appliance = crate::support::appliance::Builder::new(&upstream).with_tokens(&tokens).start();
    browser.open(&format!("{}/_appliance/logout", appliance.url()));
    browser.wait_for("location.pathname === '/_appliance/login'");
    give(&mut browser, &token.text);
    browser.wait_for("document.body.innerText === 'welcome' && location.pathname === '/'");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}
