//! A person who may only read opens the views of MLflow's page: none of the requests behind them is rejected.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::appliance::Appliance;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::python;
use crate::support::sandbox::Sandbox;
use crate::support::tokens::{TokenFile, call_mlflow};

/// MLflow's page has megabytes of scripts, and a server in Python behind it.
const RENDERING: Duration = Duration::from_secs(90);
/// A view has made its last request when it made none for this long.
const QUIET: Duration = Duration::from_millis(1500);

/// Pictures of what is tested, for people to look at.
fn pictures() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reader");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Waits until the appliance has answered nothing for some time.
fn settle(appliance: &Appliance) {
    let mut seen = appliance.access_log().len();
    for _ in 0..20 {
        std::thread::sleep(QUIET);
        let now = appliance.access_log().len();
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// The requests that were answered with an error, by the appliance or by MLflow.
fn failures(appliance: &Appliance) -> Vec<String> {
    let is_failure = |event: &Value| event["status"].as_u64().is_some_and(|status| status >= 400);
    let failed = appliance.access_log().into_iter().filter(is_failure);
    failed
        .map(|event| format!("{} {} {} {}", event["status"], event["error_code"], event["method"], event["path"]))
        .collect()
}

#[test]
#[ignore = "needs tests/run: Chromium and a Python environment with MLflow, botocore and moto"]
fn no_request_of_a_readers_page_views_is_rejected() {
    let (bin, mut browser) = (python::environment(), Browser::start());
    let sandbox = Sandbox::start(&bin, &[]);
    let (file, tokens) = (sandbox.configuration(), TokenFile::new());
    let (writer, reader) = (tokens.add("ci", "write", &[]), tokens.add("ada", "read", &[]));
    let appliance = sandbox.serve(file.path()).with_tokens(&tokens).start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
    let call = |path: &str, question: Value| call_mlflow(&appliance, &writer, "", path, &question);
    let experiment = call("experiments/create", json!({"name": "seen-by-a-reader"}))["experiment_id"].clone();
    let run = call("runs/create", json!({"experiment_id": experiment, "run_name": "a-run", "start_time": 1}));
    let run = run["run"]["info"]["run_id"].clone();
    call("runs/log-metric", json!({"run_id": run, "key": "accuracy", "value": 0.9375, "timestamp": 1, "step": 1}));
    call("registered-models/create", json!({"name": "a-model"}));
    let (experiment, run) = (experiment.as_str().unwrap(), run.as_str().unwrap());

    browser.look_like((1280, 900), "light");
    browser.open(&format!("{}/#/", appliance.url()));
    browser.wait_for("document.activeElement.id === 'token'");
    browser.call("Input.insertText", &json!({"text": reader.text}));
    browser.press("Enter");
    let views = [
        ("home", "#/".to_owned(), "Welcome to MLflow"),
        ("experiments", "#/experiments".to_owned(), "seen-by-a-reader"),
        ("experiment", format!("#/experiments/{experiment}"), "seen-by-a-reader"),
        ("runs", format!("#/experiments/{experiment}/runs"), "a-run"),
        ("traces", format!("#/experiments/{experiment}/traces"), "seen-by-a-reader"),
        ("run", format!("#/experiments/{experiment}/runs/{run}"), "0.9375"),
        ("charts", format!("#/experiments/{experiment}/runs/{run}/model-metrics"), "a-run"),
        ("artifacts", format!("#/experiments/{experiment}/runs/{run}/artifacts"), "a-run"),
        ("models", "#/models".to_owned(), "a-model"),
        ("model", "#/models/a-model".to_owned(), "a-model"),
        ("prompts", "#/prompts".to_owned(), "Prompts"),
        ("account", "#/account".to_owned(), "ada"),
    ];
    for (name, hash, text) in views {
        browser.evaluate(&format!("location.hash = '{hash}'"));
        browser.wait_up_to(RENDERING, &format!("document.body.innerText.includes('{text}')"));
        settle(&appliance);
        browser.picture(&pictures().join(format!("{name}.png")));
        eprintln!("{name}: {:?}", failures(&appliance));
    }
    assert_eq!(failures(&appliance), Vec::<String>::new());
}
