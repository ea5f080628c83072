//! A run that is interrupted, or that cannot remove what it has created.

use std::process::{Child, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cloud::{Cloud, EXPERIMENT, RUN, document};
use super::{assert_removed, evidence, path, with};
use crate::support::log::Log;
use crate::support::upstream::{Recorded, Wire};
use crate::support::{PATIENCE, eventually};

/// True for the request at which a run is interrupted.
type Choice = fn(&Recorded) -> bool;

/// A cloud that reports a request, and holds the response back until the test releases it.
fn waiting_at(is_meant: Choice) -> (Cloud, Receiver<()>, Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let waiting = Mutex::new((arrived, goes_on));
    let cloud = Cloud::with(&[], move |request, _: &mut Wire| {
        if is_meant(request) {
            let waiting = waiting.lock().unwrap();
            let _ = waiting.0.send(());
            let _ = waiting.1.recv_timeout(PATIENCE);
        }
        None
    });
    (cloud, arrival, go_on)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Starts a run, and returns it with what it says.
fn begin(cloud: &Cloud) -> (Child, Log) {
    let said = Log::new();
    let mut command = cloud.command(&["--yes", "--json"]);
    (command.stdout(Stdio::piped()).stderr(said.stdio()).spawn().unwrap(), said)
}

/// Starts a run, and sends it a signal while a request waits for its answer.
fn interrupted(is_meant: Choice, by: Signal) -> (Cloud, Output, Value) {
    let (cloud, arrival, go_on) = waiting_at(is_meant);
    let (child, said) = begin(&cloud);
    arrival.recv_timeout(PATIENCE).unwrap();
    signal(&child, by);
    eventually("the signal is noticed", || said.text().contains("interrupted: "));
    go_on.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found = document(&output);
    (cloud, output, found)
}

#[test]
fn an_interruption_at_any_request_leaves_nothing_behind() {
    let at: [(Choice, Signal); 5] = [
        (|request| request.target.contains("experiments/create"), Signal::INT),
        (|request| request.target.contains("runs/create"), Signal::TERM),
        (|request| request.target.contains("log-batch"), Signal::INT),
        (
            |request| {
                request.method == "POST" && request.target.contains("/parts.bin?") && request.target.contains("uploads")
            },
            Signal::INT,
        ),
        (|request| request.method == "PUT" && request.target.contains("partNumber=1"), Signal::INT),
    ];
    for (number, (is_meant, by)) in at.into_iter().enumerate() {
        let (cloud, output, found) = interrupted(is_meant, by);
        assert_eq!(output.status.code(), Some(1), "{number}: {found:#}");
        assert_eq!(
            (&found["interrupted"], &found["left"]),
            (&true.into(), &serde_json::json!([])),
            "{number}: {found:#}"
        );
        assert_removed(&cloud);
        let last = evidence(&found, "service-role-source-account");
        assert_eq!(last, "the run was interrupted", "{number}: every test has a result");
        let aborted =
            cloud.s3.requests().into_iter().any(|one| one.method == "DELETE" && one.target.contains("uploadId"));
        assert_eq!(aborted, number >= 3, "{number}");
    }
}

#[test]
fn nothing_is_created_after_an_interruption() {
    let (cloud, output, found) = interrupted(|request| request.target == "/graphql", Signal::INT);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    assert!(with(&found, "holds").contains("mlflow-wrong-hash"), "{found:#}");
    assert!(cloud.asked("POST", "/create").is_empty() && cloud.asked("POST", "/delete").is_empty());
}

#[test]
fn an_experiment_is_removed_even_if_the_answer_to_its_creation_is_lost() {
    for is_ours in [true, false] {
        let cloud = Cloud::with(&[], move |request, wire| {
            if request.target.contains("experiments/create") {
                return Some(Err(wire.close()));
            }
            request.target.contains("get-by-name").then(|| {
                let key = if is_ours { "appliance.assumptions" } else { "another" };
                let experiment = serde_json::json!({"experiment_id": EXPERIMENT, "tags": [{"key": key, "value": "x"}]});
                wire.answer("200 OK", serde_json::json!({"experiment": experiment}).to_string())
            })
        });
        let (_, found) = cloud.run(&["--yes"]);
        assert!(evidence(&found, "artifact-location").contains("there is no scratch run"), "{found:#}");
        assert_eq!(cloud.asked("POST", "experiments/delete").len(), usize::from(is_ours), "{found:#}");
    }
}

#[test]
fn commands_remove_what_the_run_could_not_remove() {
    let cloud = Cloud::with(&[], |request, wire| {
        let is_refused = request.target.contains("experiments/delete") || request.method == "DELETE";
        is_refused.then(|| wire.answer("403 Forbidden", "{\"message\": \"not authorized\"}"))
    });
    let (output, found) = cloud.run(&["--yes"]);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    let left = found["left"].as_array().unwrap();
    let commands: Vec<_> = left.iter().map(|one| one["command"].as_str().unwrap()).collect();
    let key = format!("mlflow/{EXPERIMENT}/{RUN}/artifacts/chunks.bin");
    let expected = format!("aws s3api delete-object --bucket artifact-bucket --key {key}");
    assert!(commands.contains(&expected.as_str()), "{commands:#?}");
    let uri = crate::support::appliance::TRACKING_ARN;
    let expected = format!("env MLFLOW_TRACKING_URI={uri} mlflow experiments delete --experiment-id {EXPERIMENT}");
    assert!(commands.contains(&expected.as_str()), "{commands:#?}");
    assert!(left.iter().all(|one| one["why"].as_str().unwrap().contains("403")), "{left:#?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("warning: experiment 4711") && said.contains("hint: env MLFLOW_TRACKING_URI"), "{said}");
    let written: std::collections::BTreeSet<_> =
        cloud.s3.requests().iter().filter(|one| one.method == "PUT").map(|one| path(&one.target)).collect();
    assert!(left.len() > written.len(), "each object and the experiment has its command: {left:#?}");
}

#[test]
fn a_second_interruption_ends_the_removal_and_names_the_rest() {
    let (cloud, arrival, go_on) =
        waiting_at(|request| request.target.contains("log-batch") || request.target.contains("experiments/delete"));
    let (child, said) = begin(&cloud);
    arrival.recv_timeout(PATIENCE).unwrap();
    signal(&child, Signal::INT);
    eventually("the signal is noticed", || said.text().contains("interrupted: "));
    go_on.send(()).unwrap();
    arrival.recv_timeout(PATIENCE).unwrap();
    signal(&child, Signal::INT);
    // The response to the removal is still missing.
    let output = child.wait_with_output().unwrap();
    let found = document(&output);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    assert!(found["left"].to_string().contains("the removal was interrupted"), "{found:#}");
    assert!(found["left"].to_string().contains(&format!("--experiment-id {EXPERIMENT}")), "{found:#}");
}
