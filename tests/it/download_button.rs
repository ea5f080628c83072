//! The download button of MLflow's own page: the file is saved and the page stays, however artifacts travel.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::python;
use crate::support::sandbox::Sandbox;

/// MLflow's page has megabytes of scripts, and a server in Python behind it.
const RENDERING: Duration = Duration::from_secs(90);
const BUTTON: &str = "document.querySelector('[data-component-id$=\"artifactview.tsx_337\"]')";
const FILES: [(&str, &str); 2] =
    [("a.txt", "plain text"), ("page.html", "<title>shown</title><script>document.title = 'run'</script>")];

#[test]
#[ignore = "needs tests/run: Python with MLflow, and Chromium"]
fn the_download_button_saves_the_file_in_every_access_mode() {
    let (bin, mut browser) = (python::environment(), Browser::start());
    let sandbox = Sandbox::start(&bin, &[]);
    browser.look_like((1280, 900), "light");
    let mut hashes = Vec::new();
    for access in ["proxied", "multipart", "presigned-only"] {
        let file = sandbox.configuration();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = text.replace("artifact-store = ", &format!("artifact-access = \"{access}\"\nartifact-store = "));
        std::fs::write(file.path(), text).unwrap();
        let appliance = sandbox.serve(file.path()).start();
        eventually("it is ready", || appliance.get("/_appliance/readyz").status == 200);
        if hashes.is_empty() {
            let question = json!({"experiment_id": "0", "start_time": 1_700_000_000_000_u64}).to_string();
            let json = [("Content-Type", "application/json")];
            let created =
                appliance.connect().request("POST", "/api/2.0/mlflow/runs/create", &json, Some(question.as_bytes()));
            let info = created.json()["run"]["info"].clone();
            let root = info["artifact_uri"].as_str().unwrap().trim_start_matches("mlflow-artifacts:/").to_owned();
            for (name, content) in FILES {
                let target = format!("/api/2.0/mlflow-artifacts/artifacts/{root}/{name}");
                assert_eq!(appliance.connect().request("PUT", &target, &[], Some(content.as_bytes())).status, 200);
                hashes.push(format!("#/experiments/0/runs/{}/artifacts/{name}", info["run_id"].as_str().unwrap()));
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let allowed = json!({"behavior": "allow", "downloadPath": directory.path(), "eventsEnabled": true});
        browser.call("Browser.setDownloadBehavior", &allowed);
        for ((name, content), hash) in FILES.iter().zip(&hashes) {
            let address = format!("{}/{hash}", appliance.url());
            browser.open("about:blank");
            browser.open(&address);
            browser.wait_up_to(RENDERING, &format!("{BUTTON} !== null"));
            browser.evaluate(&format!("{BUTTON}.click()"));
            let saved = directory.path().join(name);
            eventually(&format!("{name} is saved with `{access}`"), || saved.exists());
            assert_eq!(std::fs::read_to_string(saved).unwrap(), *content, "{access}");
            assert_eq!(browser.evaluate("location.href"), address, "{access}: MLflow's page stays");
            assert_ne!(browser.evaluate("document.title"), "run", "{access}: the uploaded page is not shown");
        }
    }
}
