//! `appliance assumptions`: its results, and the removal of everything that it creates.

mod cloud;
mod interruption;
mod sandbox;
mod store;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use self::cloud::{Cloud, EXPERIMENT, RUN, document};
use crate::support::appliance::{SECRET_ACCESS_KEY, SESSION_TOKEN, command};

/// The names of all assumptions, by the list of the program.
fn names() -> BTreeSet<String> {
    let output = command(&["assumptions", "--list", "--json"]).output().unwrap();
    let list = document(&output);
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// The names of the assumptions with this result.
fn with(document: &Value, result: &str) -> BTreeSet<String> {
    let all = document["assumptions"].as_array().unwrap().iter();
    all.filter(|one| one["result"] == result).map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn evidence<'a>(document: &'a Value, name: &str) -> &'a str {
    let all = document["assumptions"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap()["evidence"].as_str().unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Everything that the run has created is gone, and nothing else was touched.
#[track_caller]
fn assert_removed(cloud: &Cloud) {
    let deleted = cloud.asked("POST", "experiments/delete");
    assert_eq!(deleted.len(), 1);
    let body: Value = serde_json::from_slice(&deleted[0].body).unwrap();
    assert_eq!(body["experiment_id"], EXPERIMENT);
    let requests = cloud.s3.requests();
    let written: BTreeSet<_> = requests.iter().filter(|one| one.method == "PUT").map(|one| path(&one.target)).collect();
    let deleted: BTreeSet<_> =
        requests.iter().filter(|one| one.method == "DELETE").map(|one| path(&one.target)).collect();
    assert!(written.is_subset(&deleted), "{written:?} {deleted:?}");
    assert!(deleted.iter().all(|path| path.contains(&format!("/{EXPERIMENT}/{RUN}/artifacts/"))), "{deleted:?}");
}

fn path(target: &str) -> String {
    target.split('?').next().unwrap().to_owned()
}

#[test]
fn every_assumption_holds_where_aws_is_as_assumed() {
    let cloud = Cloud::without(&[]);
    let (output, found) = cloud.run(&["--yes", "--open-page"]);
    // This server speaks HTTP/1.1; the sandbox, which speaks HTTP/2, has the other result.
    let false_ones = set(&["mlflow-http2"]);
    let holding: BTreeSet<_> = names().difference(&false_ones).cloned().collect();
    assert_eq!((with(&found, "holds"), with(&found, "does-not-hold")), (holding, false_ones), "{found:#}");
    assert_eq!(output.status.code(), Some(3));
    assert!(evidence(&found, "mlflow-body-size").contains("6.0 MiB (400)"), "{found:#}");
    assert!(evidence(&found, "presigned-page").contains("cookie `session` (Path=/, HttpOnly, Secure)"), "{found:#}");
    assert_eq!((&found["left"], &found["interrupted"]), (&serde_json::json!([]), &false.into()), "{found:#}");
    assert!(found["removed"].to_string().contains("MLflow keeps as deleted"), "{found:#}");
    let routes = found["routes"].as_array().unwrap();
    assert!(routes.len() > 30 && routes.iter().any(|one| one["family"] == "traces" && one["answer"] == "answers"));
    assert_removed(&cloud);
}

#[test]
fn every_assumption_can_turn_out_to_be_false() {
    let all = names();
    let mut broken: Vec<&'static str> = all.iter().map(|name| &*Box::leak(name.clone().into_boxed_str())).collect();
    // Without the first one, no other could be tested.
    broken.retain(|name| *name != "mlflow-signed-request");
    let cloud = Cloud::without(&broken);
    let (output, found) = cloud.run(&["--yes", "--open-page"]);
    assert_eq!(with(&found, "does-not-hold"), broken.iter().map(ToString::to_string).collect(), "{found:#}");
    assert_eq!((output.status.code(), &found["ok"]), (Some(3), &false.into()));
    assert!(
        evidence(&found, "mlflow-body-size").contains("5.0 MiB: 413; smaller ones reach MLflow: 1.0 MiB"),
        "{found:#}"
    );
    assert_removed_elsewhere(&cloud);
    for one in found["assumptions"].as_array().unwrap() {
        assert!(!one["evidence"].as_str().unwrap().is_empty() && !one["depends_on"][0].as_str().unwrap().is_empty());
    }

    let cloud = Cloud::without(&["mlflow-signed-request"]);
    let (output, found) = cloud.run(&["--yes"]);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    assert_eq!(with(&found, "does-not-hold"), set(&["mlflow-http2", "mlflow-signed-request"]), "{found:#}");
    assert!(evidence(&found, "mlflow-unsigned-payload").contains("did not accept a plain signed request"), "{found:#}");
    assert!(cloud.asked("POST", "create").is_empty() && cloud.s3.requests().is_empty());
}

/// Asserts the same as [`assert_removed`], for a bucket with another name.
#[track_caller]
fn assert_removed_elsewhere(cloud: &Cloud) {
    assert_eq!(cloud.asked("POST", "experiments/delete").len(), 1);
    let requests = cloud.s3.requests();
    assert!(requests.iter().any(|one| one.method == "DELETE"));
    assert!(requests.iter().all(|one| one.target.starts_with("/another-bucket")), "the run's own location is used");
}

#[test]
fn a_denied_identity_learns_that_nothing_could_be_tested() {
    let cloud = Cloud::with(&[], |request, wire| {
        let is_mlflow = crate::support::Message::has(request, "x-mlflow-sm-tracking-server-arn");
        is_mlflow.then(|| wire.answer("403 Forbidden", "{\"message\": \"User is not authorized\"}"))
    });
    let (output, found) = cloud.run(&["--yes"]);
    let expected = "the identity may not search for experiments: 403: User is not authorized";
    assert_eq!(evidence(&found, "mlflow-signed-request"), expected);
    assert_eq!(with(&found, "does-not-hold"), set(&["mlflow-http2"]), "{found:#}");
    assert_eq!(with(&found, "holds"), set(&["sts-signed-audience"]), "{found:#}");
    assert_eq!(output.status.code(), Some(3));
    assert!(cloud.asked("POST", "create").is_empty());
}

#[test]
fn no_output_has_a_secret_or_a_control_character() {
    let all = names();
    let broken: Vec<&'static str> = all.iter().map(|name| &*Box::leak(name.clone().into_boxed_str())).collect();
    let broken: Vec<_> = broken.into_iter().filter(|name| *name != "mlflow-signed-request").collect();
    let cloud = Cloud::without(&broken);
    for arguments in [&["--yes", "--open-page"][..], &["--yes", "--open-page", "--json"]] {
        let output = cloud.command(arguments).env("RUST_LOG", "trace").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("InvalidSignatureException"), "{said}");
        let secrets = [SECRET_ACCESS_KEY, SESSION_TOKEN, "nobody-may-see", "Signature=", "\u{1b}", "\\u001b"];
        for secret in secrets {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
        let signatures = cloud.mlflow.requests();
        let signatures = signatures.iter().flat_map(|one| crate::support::Message::all(one, "authorization"));
        for signature in signatures.filter_map(|value| value.split_once("Signature=")) {
            assert!(!said.contains(signature.1), "{said}");
        }
    }
}

#[test]
fn nothing_is_created_without_consent() {
    let cloud = Cloud::without(&[]);
    let output = cloud.command(&[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["the experiment `appliance-assumptions-", "objects", "error: nothing was tested", "hint: pass `--yes`"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(cloud.mlflow.requests().is_empty() && cloud.s3.requests().is_empty());

    let (output, found) = cloud.run(&["--read-only"]);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    for name in ["artifact-location", "mlflow-body-size", "s3-parts", "artifacts-read-by-mlflow"] {
        assert!(evidence(&found, name).contains("`--read-only` allows no writing"), "{found:#}");
    }
    assert!(evidence(&found, "presigned-page").contains("`--open-page`"), "{found:#}");
    assert!(with(&found, "holds").len() >= 14, "{found:#}");
    assert_eq!(found["experiment"], Value::Null);
    assert!(cloud.s3.requests().is_empty());
    for request in cloud.mlflow.requests() {
        let is_search =
            request.target.contains("search") || request.target.contains("list") || request.target == "/graphql";
        let is_read = request.method == "GET" || is_search || request.target.contains("batchGet");
        assert!(
            is_read || request.target.contains("get-latest") || request.target.contains("presigned"),
            "{request:?}"
        );
    }
    assert!(cloud.control.requests().iter().all(|one| !one.target.contains("auth")));
}

#[test]
fn the_answer_at_a_terminal_decides() {
    for (typed, code, is_asked) in [("n\n", 1, false), ("\n", 1, false), ("yes\n", 3, true)] {
        let cloud = Cloud::without(&[]);
        let wanted = cloud.command(&["--json"]);
        // `script` gives the program a terminal, and types what it reads.
        let words = std::iter::once(wanted.get_program()).chain(wanted.get_args());
        let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut child = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
            .env_clear()
            .envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PATH", "/usr/bin:/bin")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{typed:?}: {said}");
        assert!(said.contains("Create them? [y/N]"), "{said}");
        assert_eq!(!cloud.asked("POST", "experiments/create").is_empty(), is_asked, "{said}");
    }
}

#[test]
fn results_are_lines_and_a_table_for_people() {
    let cloud = Cloud::without(&["mlflow-unsigned-payload"]);
    let output = cloud.command(&["--yes"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in [
        "\nholds         mlflow-wrong-hash            400 XAmzContentSHA256Mismatch",
        "\ndoes not hold mlflow-unsigned-payload      400",
        "depends on it: `unsigned-payload`, docs/operate/behaviour.md",
        "\nnot tested    presigned-page ",
        "\nROUTES ",
        "\ntraces ",
        " assumptions: 27 hold, 2 do not hold, 1 not tested\n",
        "\nremoved: ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_page_has_the_list_of_the_program() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/assumptions.md");
    let page = fs::read_to_string(page).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| name | assumption |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let output = command(&["assumptions", "--list", "--json"]).output().unwrap();
    let linked = |one: &Value| match one.as_str().unwrap() {
        text if text.starts_with("docs/") => format!("[{0}](../{0})", &text["docs/".len()..]),
        text => text.to_owned(),
    };
    let row = |one: &Value| {
        let depends: Vec<_> = one["depends_on"].as_array().unwrap().iter().map(linked).collect();
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        format!("| `{}` | {} | {} |", text("name"), text("assumption"), depends.join(", "))
    };
    let expected: Vec<_> = document(&output).as_array().unwrap().iter().map(row).collect();
    assert!(rows.len() > 20);
    assert_eq!(rows, expected, "docs/reference/assumptions.md has another table than `appliance assumptions --list`");
}

#[test]
fn the_list_needs_neither_a_target_nor_a_network() {
    let output = command(&["assumptions", "--list"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(names().iter().all(|name| said.contains(&format!("{name}\n  "))), "{said}");
    let output = command(&["assumptions", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "without a target, the configuration is invalid");
}
