//! The page of personal tokens in a browser: a person makes a token, a real MLflow client uses it, and the person revokes it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::appliance::Appliance;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::personal::PersonalFile;
use crate::support::python;
use crate::support::sandbox::Sandbox;
use crate::support::tokens::TokenFile;

/// Pictures of what is tested, for people to look at.
fn pictures() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("personal-tokens");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Pictures of one page, in both schemes and on a phone.
fn look(browser: &mut Browser, name: &str) {
    for (width, scheme, suffix) in [(1280, "light", "light"), (1280, "dark", "dark"), (390, "light", "phone")] {
        browser.look_like((width, 900), scheme);
        browser.picture(&pictures().join(format!("{name}-{suffix}.png")));
    }
    let overflow = browser.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth");
    assert_eq!(overflow, false, "{name}: nothing is wider than a phone");
    browser.look_like((1280, 900), "light");
}

/// Clicks, and waits for the page that follows.
fn click(browser: &mut Browser, selector: &str) {
    browser.evaluate(&format!("isOld = true; document.querySelector({}).click()", json!(selector)));
    browser.wait_for("!window.isOld && document.readyState === 'complete'");
}

/// Lists experiments with MLflow's own client, and returns true if that is allowed.
fn can_use_mlflow(bin: &std::path::Path, appliance: &Appliance, token: &str) -> bool {
    let program = "import mlflow; mlflow.set_experiment('by-a-person'); print(len(mlflow.search_experiments()))";
    let output = Command::new(bin.join("python"))
        .args(["-c", program])
        .env_clear()
        .env("HOME", std::env::temp_dir())
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        .env("MLFLOW_TRACKING_URI", appliance.url())
        .env("MLFLOW_TRACKING_TOKEN", token)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("The token is not valid"), "{said}");
    output.status.success()
}

#[test]
#[ignore = "needs tests/run: Chromium and a Python environment with MLflow, botocore and moto"]
fn a_person_makes_a_token_for_a_program_and_revokes_it() {
    let (bin, mut browser) = (python::environment(), Browser::start());
    let sandbox = Sandbox::start(&bin, &[]);
    let (file, tokens, personal) = (sandbox.configuration(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &[]);
    let path = personal.path();
    let builder = sandbox.serve(file.path()).with_tokens(&tokens);
    let appliance = builder.with(&["--personal-tokens", path.to_str().unwrap()]).start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    browser.look_like((1280, 900), "light");

    // The address of the page leads there through the sign-in.
    browser.open(&format!("{}/_appliance/tokens", appliance.url()));
    browser.wait_for("document.activeElement.id === 'token'");
    browser.call("Input.insertText", &json!({"text": ada.text}));
    browser.press("Enter");
    browser.wait_for("location.pathname === '/_appliance/tokens' && document.readyState === 'complete'");
    browser.wait_for("document.body.innerText.includes('You have no tokens.')");
    look(&mut browser, "empty");

    browser.evaluate(
        "document.querySelector('#name').value = 'notebook'; document.querySelector('#role').value = 'write'",
    );
    click(&mut browser, "button.primary");
    browser.wait_for("document.querySelector('#made').value.startsWith('mlfa_')");
    look(&mut browser, "made");
    // The test's browser may not use the clipboard's API, as a page without encryption may not.
    browser.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
    browser.evaluate("document.addEventListener('copy', () => { copied = document.getSelection().toString(); })");
    browser.evaluate("document.querySelector('#made').focus()");
    browser.press("Tab");
    browser.press("Enter");
    browser.wait_for("document.querySelector('#copy').textContent === 'Copied'");
    assert_eq!(browser.evaluate("copied"), browser.evaluate("document.querySelector('#made').value"));
    let token = browser.evaluate("document.querySelector('#made').value").as_str().unwrap().to_owned();
    assert!(can_use_mlflow(&bin, &appliance, &token));
    appliance.saw("the person", |event| {
        event["caller"] == "ada" && event["means"] == "personal" && event["role"] == "write"
    });

    // The sign-in page leads to the list, which shows the last use and not the token.
    browser.open(&format!("{}/_appliance/login", appliance.url()));
    browser.wait_for("document.querySelector('a[href$=\"_appliance/tokens\"]') !== null");
    click(&mut browser, "a[href$=\"_appliance/tokens\"]");
    browser.wait_for("document.querySelector('.token h2').innerText === 'notebook'");
    let shown = browser.evaluate("document.documentElement.outerHTML");
    assert!(!shown.as_str().unwrap().contains(&token));
    browser.wait_for("/Last use\\s+20\\d\\d-/.test(document.querySelector('.token').innerText)");
    look(&mut browser, "list");
    click(&mut browser, ".token .button");
    browser.wait_for("document.querySelector('.notice').innerText.includes('1 token was revoked.')");
    assert!(!can_use_mlflow(&bin, &appliance, &token));
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    assert!(!appliance.log().contains(&token));
}
