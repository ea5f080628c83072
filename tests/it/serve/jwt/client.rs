//! MLflow's client with a token that is renewed while it runs, by the program of the page.

use std::time::Duration;

use serde_json::json;

use super::{ConfigFile, caller_table, issuer_table};
use crate::documents::blocks;
use crate::support::eventually;
use crate::support::issuer::{SigningKey, TestIssuer, now};
use crate::support::python;
use crate::support::upstream::Upstream;

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow"]
fn the_program_of_the_page_keeps_a_token_fresh() {
    let bin = python::environment();
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let caller = caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(&upstream, &(issuer_table("ci", &issuer, "leeway = \"1s\"") + &caller));
    let appliance = file.start();
    let directory = tempfile::tempdir().unwrap();
    let (token, program) = (directory.path().join("token"), directory.path().join("program.py"));
    let renew = || {
        let claims = issuer.claims(&json!({"exp": now() + 3}));
        let new = directory.path().join("new");
        std::fs::write(&new, key.token(&json!({"alg": "ES256", "kid": "k"}), &claims)).unwrap();
        std::fs::rename(new, &token).unwrap();
    };
    renew();
    let page = blocks("docs/access/ci-and-workloads.md", "python").concat();
    let place = "/var/run/secrets/mlflow/token";
    assert!(page.contains(place) && page.contains("every=60"), "{page}");
    let page = page.replace(place, token.to_str().unwrap()).replace("every=60", "every=1");
    let rest = "import mlflow\nfor _ in range(20):\n    mlflow.search_experiments()\n    time.sleep(0.5)\n";
    std::fs::write(&program, format!("{page}{rest}")).unwrap();
    let mut child = std::process::Command::new(bin.join("python"))
        .arg(&program)
        .env_clear()
        .env("HOME", directory.path())
        .env("MLFLOW_TRACKING_URI", appliance.url())
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut status = None;
    for _ in 0..120 {
        std::thread::sleep(Duration::from_millis(500));
        renew();
        status = child.try_wait().unwrap();
        if status.is_some() {
            break;
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(status.is_some_and(|status| status.success()), "{}", String::from_utf8_lossy(&output.stderr));
    let searched = || appliance.access_log().iter().filter(|event| event["action"] == "experiments:search").count();
    eventually("the requests are logged", || searched() == 20);
    assert!(appliance.access_log().iter().all(|event| event["status"] != 401));
}
