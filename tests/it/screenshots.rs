//! The screenshots in the documents show the running appliance. `APPLIANCE_TEST_UPDATE=1 tests/run -- screenshots` makes them anew.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::appliance::Appliance;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::python;
use crate::support::sandbox::Sandbox;
use crate::support::tokens::{Token, TokenFile, call_mlflow};

/// A screenshot that is larger than this makes a slow page.
const LARGEST: u64 = 150 * 1024;
/// The paths of the two targets.
const TRACKING: &str = "/t/tracking";
const SERVERLESS: &str = "/t/serverless";
const START_MS: u64 = 1_700_000_000_000;

/// Logs a few runs of a training, each with two curves, and returns the id of their experiment.
fn train(appliance: &Appliance, token: &Token) -> String {
    let experiment = call_mlflow(appliance, token, TRACKING, "experiments/create", &json!({"name": "churn-model"}));
    let experiment = experiment["experiment_id"].as_str().unwrap().to_owned();
    for (index, rate) in [0.3_f64, 0.1, 0.03, 0.01].into_iter().enumerate() {
        let start = START_MS + 600_000 * u64::try_from(index).unwrap();
        let question = json!({"experiment_id": experiment, "run_name": format!("rate-{rate}"), "start_time": start});
        let run = call_mlflow(appliance, token, TRACKING, "runs/create", &question)["run"]["info"]["run_id"].clone();
        let metrics: Vec<Value> = (0..40_u32)
            .flat_map(|step| {
                let progress = 1.0 - (-f64::from(step) * rate).exp();
                let at = start + 1_000 * u64::from(step);
                let metric = |key: &str, value: f64| json!({"key": key, "value": value, "timestamp": at, "step": step});
                [metric("accuracy", 0.5 + 0.45 * progress), metric("loss", 1.2 - progress)]
            })
            .collect();
        let parameters = [json!({"key": "learning rate", "value": rate.to_string()})];
        call_mlflow(
            appliance,
            token,
            TRACKING,
            "runs/log-batch",
            &json!({"run_id": run, "metrics": metrics, "params": parameters}),
        );
        let end = json!({"run_id": run, "status": "FINISHED", "end_time": start + 40_000});
        call_mlflow(appliance, token, TRACKING, "runs/update", &end);
    }
    experiment
}

fn is_update() -> bool {
    std::env::var_os("APPLIANCE_TEST_UPDATE").is_some()
}

/// Takes a screenshot of the page down to the end of an element. It becomes the one in the documents if the tests are told to
/// update.
fn take(browser: &mut Browser, name: &str, last: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let end =
        browser.evaluate(&format!("document.querySelector('{last}').getBoundingClientRect().bottom + scrollY + 20"));
    browser.picture_down_to(&file, end.as_f64());
    let in_documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images").join(name);
    if is_update() {
        std::fs::copy(&file, &in_documents).unwrap();
    }
    for file in [file, in_documents] {
        let size = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
        assert!((10_000..LARGEST).contains(&size), "{}: {size} bytes", file.display());
    }
}

#[test]
#[ignore = "needs tests/run: Chromium and a Python environment with MLflow, botocore and moto"]
fn the_screenshot_shows_the_status_page_with_traffic_of_a_real_mlflow() {
    let (bin, mut browser) = (python::environment(), Browser::start());
    let sandbox = Sandbox::start(&bin, &["--credential-lifetime", "1h"]);
    let (file, tokens) = (sandbox.configuration(), TokenFile::new());
    let (writer, reader) = (tokens.add("ci", "write", &[]), tokens.add("ada", "read", &[]));
    let appliance = sandbox.serve(file.path()).with_tokens(&tokens).with_admin().start();
    eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);

    let experiment = train(&appliance, &writer);
    // Two artifacts through the appliance, and one of them by a presigned URL.
    let service = format!("{TRACKING}/api/2.0/mlflow-artifacts");
    for (method, path, token, body) in [
        ("PUT", "artifacts/1/run/artifacts/model.bin", &writer, Some(vec![7_u8; 3 << 20])),
        ("GET", "artifacts/1/run/artifacts/model.bin", &reader, None),
        ("GET", "presigned/1/run/artifacts/model.bin", &reader, None),
    ] {
        let fields = [("Authorization", &*token.bearer())];
        let answer = appliance.connect().request(method, &format!("{service}/{path}"), &fields, body.as_deref());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    // The chart has a point for every 30 seconds.
    let end = Instant::now() + Duration::from_secs(if is_update() { 240 } else { 1 });
    while Instant::now() < end {
        call_mlflow(
            &appliance,
            &reader,
            TRACKING,
            "runs/search",
            &json!({"experiment_ids": [experiment], "max_results": 10}),
        );
        call_mlflow(&appliance, &writer, SERVERLESS, "experiments/search", &json!({"max_results": 10}));
        std::thread::sleep(Duration::from_millis(250));
    }
    browser.look_like((1120, 720), "light");
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for("document.querySelectorAll('#charts svg[role=img]').length === 3");
    for text in ["tracking", "serverless"] {
        browser.wait_for(&format!("document.body.innerText.includes('{text}')"));
    }
    browser.wait_for("document.querySelectorAll('#callers tbody tr').length >= 2");
    take(&mut browser, "status.png", "#callers-title + *");
    browser.look_like((390, 844), "dark");
    browser.wait_for("document.querySelector('#charts svg[role=img]').viewBox.baseVal.width < 390");
    take(&mut browser, "status-phone.png", "#requests");
}
