//! The whole path: MLflow's own client, the appliance, an endpoint that checks signatures, and a real MLflow.

mod configuration;
mod obstacles;
mod roles;

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::Message as _;
use crate::support::appliance::command;
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::{eventually, figure, prepared, python};

fn tally(said: &str, mode: &str) -> (u64, u64) {
    let line = said.lines().find(|line| line.starts_with(&format!("{mode}: "))).unwrap_or_else(|| panic!("{said}"));
    let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn mlflows_own_client_works_in_both_modes_and_every_request_is_verified() {
    let bin = python::environment();
    // Renewed every six seconds, so that the credentials change many times on the way.
    let sandbox = Sandbox::start(&bin, &["--mode", "both", "--credential-lifetime", "8s"]);
    let mut calls = 0;
    for mode in ["tracking", "serverless"] {
        let result = python::run(&bin, "mlflow_client.py", &[sandbox.url(mode)], b"");
        eprintln!("{mode}: {result}");
        calls += result["calls"].as_u64().unwrap();
        assert!(result["checks"].as_u64().unwrap() >= 30, "{result}");
        assert_user_interface_loads(&format!("{}/", sandbox.url(mode)));
    }
    let logs = sandbox.ready["logs"].as_str().unwrap().to_owned();
    let log = std::fs::read_to_string(Path::new(&logs).join("appliance.log")).unwrap();
    let renewals = log.matches("the AWS credentials were obtained").count();
    let mlflow: Vec<&str> = sandbox.ready["mlflow"].as_str().unwrap().split(':').collect();
    let mlflow_port: u16 = mlflow.last().unwrap().parse().unwrap();

    let said = sandbox.interrupt();
    let (tracking, serverless) = (tally(&said, "tracking"), tally(&said, "serverless"));
    figure(&format!(
        "{calls} calls of the client; signatures verified: {tracking:?} and {serverless:?}; {renewals} renewals"
    ));
    let artifacts = tally(&said, "artifacts");
    assert!(tracking.0 + serverless.0 + artifacts.0 >= calls, "every call passes the endpoints: {said}");
    assert_eq!((tracking.1, serverless.1, artifacts.1), (0, 0, 0), "nothing was refused: {said}");
    assert!(renewals >= 2, "the credentials were renewed on the way: {renewals}");
    eventually("MLflow is gone", || TcpStream::connect(("127.0.0.1", mlflow_port)).is_err());
    assert!(!Path::new(&logs).exists(), "nothing is left behind in {logs}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn artifacts_need_no_aws_credentials_on_the_client() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "serverless", "--credential-lifetime", "2h"]);
    let mlflow = sandbox.ready["mlflow"].as_str().unwrap();
    let result = python::run(&bin, "artifacts_client.py", &[sandbox.url("serverless"), mlflow], b"");
    assert!(result["checks"].as_u64().unwrap() >= 58, "{result}");
    let said = sandbox.interrupt();
    let (verified, refused) = tally(&said, "artifacts");
    figure(&format!("artifacts without credentials: {result}; {verified} S3 signatures verified, {refused} refused"));
    assert!(verified >= 150 && refused == 0, "{said}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn a_tracking_server_and_an_app_are_served_side_by_side_by_one_process() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "both"]);
    let file = sandbox.configuration();
    let appliance = sandbox.serve(file.path()).start();
    eventually("both are ready", || appliance.get("/_appliance/readyz").status == 200);
    let output = command(&["check", "--listen", "127.0.0.1:0", "--config"])
        .arg(file.path())
        .envs(sandbox.aws())
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{found}");
    assert_eq!(found.matches("listed, written, read and deleted").count(), 2, "{found}");
    assert!(found.contains("sandbox-mlflow: assumed") && found.contains(" 0 failed"), "{found}");
    for mode in ["tracking", "serverless"] {
        let url = format!("{}/t/{mode}", appliance.url());
        let result = python::run(&bin, "mlflow_client.py", &[&url], b"");
        assert!(result["checks"].as_u64().unwrap() >= 30, "{result}");
        assert_user_interface_loads(&format!("{url}/"));
    }
    let said = sandbox.interrupt();
    let (tracking, serverless) = (tally(&said, "tracking"), tally(&said, "serverless"));
    assert!(tracking.0 >= 60 && serverless.0 >= 60, "each at its own endpoint: {said}");
    // `check` reads each endpoint's clock before it has credentials.
    assert_eq!((tracking.1, serverless.1), (1, 1), "nothing else was refused: {said}");
}

/// The page and everything it loads at once.
fn assert_user_interface_loads(url: &str) {
    let (address, prefix) = url.trim_start_matches("http://").split_once('/').unwrap_or((url, ""));
    let (address, prefix) = (address.trim_start_matches("http://").parse().unwrap(), format!("/{prefix}"));
    let mut caller = Caller::connect(address);
    let page = caller.get(&prefix);
    assert_eq!((page.status, page.header("content-type").starts_with("text/html")), (200, true));
    let text = page.text();
    let files: Vec<&str> = text.split(['"', '\'']).filter(|part| part.contains("static-files/")).collect();
    assert!(files.len() >= 2, "{text}");
    for file in files {
        let path = format!("{prefix}{}", file.trim_start_matches("./").trim_start_matches('/'));
        let answer = caller.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn the_sandbox_accepts_botocore_and_rejects_other_signatures() {
    let bin = python::environment();
    // The server behind the endpoints does not matter here, so it need not be a real MLflow.
    let behind = crate::support::upstream::Upstream::plain(|_, wire| wire.send(crate::support::upstream::OK));
    let sandbox = Sandbox::start(&bin, &["--mlflow-url", &behind.url()]);
    let result = python::run(&bin, "front_door.py", &[&sandbox.ready.to_string()], b"");
    figure(&format!("front doors: {result}"));
    assert!(result["accepted"].as_u64().unwrap() >= 90, "{result}");
    assert!(result["refused"].as_object().unwrap().len() >= 6, "{result}");
    let said = sandbox.interrupt();
    assert!(tally(&said, "tracking").1 >= 14, "{said}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn mlflow_is_installed_once_where_there_is_none() {
    let (bin, cache) = (python::environment(), prepared("APPLIANCE_TEST_CACHE"));
    // A PATH with a Python and no MLflow, and a cache that `tests/run` keeps, so that only the first run is slow.
    let base =
        Command::new(bin.join("python")).args(["-c", "import sys; print(sys._base_executable)"]).output().unwrap();
    let path = tempfile::tempdir().unwrap();
    // A script and not a link: what is installed must outlive this directory, and it would link to the link.
    let python = path.path().join("python3");
    let base = String::from_utf8(base.stdout).unwrap();
    std::fs::write(&python, format!("#!/bin/sh\nexec '{}' \"$@\"\n", base.trim())).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let cache = Path::new(&cache).join("sandbox");
    // The other cache would hide pip's own one, which has what the tests' environment was made of.
    let pip = Command::new(bin.join("python")).args(["-m", "pip", "cache", "dir"]).output().unwrap();
    let pip = String::from_utf8(pip.stdout).unwrap();
    let variables = [("XDG_CACHE_HOME", &*cache), ("PIP_CACHE_DIR", Path::new(pip.trim()))];
    let installed = cache.join("appliance/mlflow-3.17.2");
    let was_there = installed.join("complete").exists() && installed.join("bin/python").exists();
    for run in ["first", "second"] {
        let began = std::time::Instant::now();
        let sandbox = Sandbox::start_with(path.path(), &["--mode", "serverless"], &variables);
        let address = sandbox.url("serverless").trim_start_matches("http://").parse().unwrap();
        assert_eq!(Caller::connect(address).get("/version").text(), "3.17.2");
        let said = sandbox.interrupt();
        figure(&format!("{run} start (installed before: {was_there}): {} s", began.elapsed().as_secs()));
        let installs = said.contains("installing MLflow 3.17.2");
        assert_eq!(installs, run == "first" && !was_there, "{said}");
    }
    assert!(installed.join("complete").exists() && installed.join("bin/python").canonicalize().is_ok());
}

/// A sandbox before something that says yes to everything, and a connection to its appliance.
fn without_mlflow(arguments: &[&str]) -> (crate::support::upstream::Upstream, Sandbox, Caller) {
    let behind = crate::support::upstream::Upstream::plain(|_, wire| wire.send(crate::support::upstream::OK));
    let url = behind.url();
    let all: Vec<&str> = ["--mode", "tracking", "--mlflow-url", &url].iter().chain(arguments).copied().collect();
    let sandbox = Sandbox::start(Path::new("/usr/bin"), &all);
    let caller = Caller::connect(sandbox.url("tracking").trim_start_matches("http://").parse().unwrap());
    (behind, sandbox, caller)
}

#[test]
fn the_s3_of_the_sandbox_accepts_every_key_of_s3() {
    let (_behind, sandbox, mut caller) = without_mlflow(&[]);
    let target = |path: &str| format!("/api/2.0/mlflow-artifacts/artifacts/{path}");
    // With the prefix `mlflow/` the key has 1,024 bytes.
    let longest = format!("long/{}", "k".repeat(1012));
    let segments = format!("deep/{}x", "s/".repeat(500));
    let typed = [("Content-Type", "image/webp")];
    for path in [&longest, &segments, "long/%E6%97%A5%20+%25", "a/b", "a", "a/b/c", "d/trailing."] {
        let put = caller.request("PUT", &target(path), &typed, Some(path.as_bytes()));
        assert_eq!(put.status, 200, "{path}: {}", put.text());
    }
    for path in [&longest, &segments, "long/%E6%97%A5%20+%25", "a/b", "a", "a/b/c"] {
        let got = caller.get(&target(path));
        assert_eq!((got.status, got.text().as_str(), got.header("content-type")), (200, path, "image/webp"));
    }
    assert_eq!(caller.request("PUT", &target(&format!("{longest}k")), &[], Some(b"x")).status, 400, "one byte more");
    for directory in ["long", "deep/s", "d", "nothing", "a/b/c/d"] {
        let began = std::time::Instant::now();
        let got = caller.get(&target(directory));
        assert_eq!((got.status, got.header("x-appliance-error")), (404, "no-such-artifact"), "{directory}");
        assert!(began.elapsed() < Duration::from_secs(1), "nothing is tried again");
    }
    let list = |caller: &mut Caller, path: &str| -> Vec<(String, bool)> {
        let listed = caller.get(&format!("/api/2.0/mlflow-artifacts/artifacts?path={path}")).json();
        let entry = |file: &serde_json::Value| (file["path"].as_str().unwrap().to_owned(), file["is_dir"] == true);
        listed["files"].as_array().unwrap().iter().map(entry).collect()
    };
    let named = |name: &str, is_directory: bool| (name.to_owned(), is_directory);
    assert_eq!(list(&mut caller, "a"), [named("b", true), named("b", false)]);
    assert_eq!(list(&mut caller, "long"), [named(&"k".repeat(1012), false), named("\u{65e5} +%", false)]);
    assert_eq!(caller.request("DELETE", &target("a/b"), &[], None).status, 200);
    assert_eq!([caller.get(&target("a/b")).status, caller.get(&target("a/b/c")).status], [404, 404]);
    assert_eq!(caller.get(&target("a")).text(), "a", "another object");
    let said = sandbox.interrupt();
    assert_eq!(tally(&said, "artifacts").1, 0, "{said}");
}

#[test]
#[ignore = "needs tests/run: Python with MLflow"]
fn the_parts_of_an_upload_outlive_the_credentials_with_which_it_began() {
    let bin = python::environment();
    let sandbox = Sandbox::start(&bin, &["--mode", "serverless", "--credential-lifetime", "8s"]);
    let url = sandbox.url("serverless").to_owned();
    let result = python::run(&bin, "slow_parts.py", &[&url, "3"], b"");
    assert_eq!(result["parts"], serde_json::json!([url]), "none of them went to S3: {result}");
    let said = sandbox.interrupt();
    figure(&format!("a slow upload in parts: {result}"));
    assert_eq!(tally(&said, "artifacts").1, 0, "{said}");
}
