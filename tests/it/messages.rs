//! Error messages name the operation, the object and the reason once, with the fix that fits the reason.

use std::fs;

use crate::support::appliance::{Builder, TRACKING_ARN, run};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, quiet_port};

/// The exit code of a command, and all that it prints.
fn said(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(arguments, variables);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The arguments of `serve` with a target and further options.
fn serve<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["serve", "--resource-arn", TRACKING_ARN, "--admin-listen", "off"][..], options].concat()
}

/// Asserts that a command ends with this code and these texts, and names its object once.
#[track_caller]
fn fails(arguments: &[&str], code: i32, expected: &[&str], object: &str) {
    let (ended, text) = said(arguments, &[]);
    assert_eq!(ended, Some(code), "{arguments:?}: {text}");
    for part in expected {
        assert!(text.contains(part), "`{part}` is missing for {arguments:?}:\n{text}");
    }
    assert_eq!(text.matches(object).count(), 1, "`{object}` stands once for {arguments:?}:\n{text}");
    assert!(!text.contains("serving "), "{arguments:?} serves nothing:\n{text}");
}

#[test]
fn serve_names_its_object_once_and_the_fix_for_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.toml");
    fs::write(&tokens, "token = [\n").unwrap();
    let (tokens, missing) = (tokens.to_str().unwrap(), directory.path().join("missing/file"));
    let missing = missing.to_str().unwrap();
    let foreign = "192.0.2.7:5000";
    let listen =
        ["error: cannot listen on `192.0.2.7:5000`", "hint: set `--listen` or `--admin-listen` to an address of this"];
    fails(&serve(&["--listen", foreign, "--allow-anonymous"]), 78, &listen, foreign);
    let audit = ["error: cannot open the audit log `", "caused by: No such file", "hint: name a file in a writable"];
    fails(&serve(&["--listen", "127.0.0.1:0", "--audit-log", missing]), 78, &audit, missing);
    let unread =
        ["--tokens: cannot read the token file `", "No such file", "hint: name a file that `appliance token new` made"];
    fails(&serve(&["--tokens", missing]), 78, &unread, missing);
    fails(&serve(&["--tokens", tokens]), 78, &["--tokens: cannot read the token file `", "`: line 1: "], tokens);
    let form = ["--deny: the rule `foo`: a rule has the form `resource:action`"];
    fails(&serve(&["--deny", "foo"]), 78, &form, "`foo`");
    let role = ["--deny: the rule `experiments:delete@boss`: a role is `read`, `write` or `admin`\n"];
    fails(&serve(&["--deny", "experiments:delete@boss"]), 78, &role, "experiments:delete");
    let network = ["--allowed-networks: `10.0.0.0/33` is not a network"];
    fails(&serve(&["--allowed-networks", "10.0.0.0/33"]), 78, &network, "10.0.0.0/33");
}

#[test]
fn other_commands_name_their_object_once_and_the_fix_for_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/file");
    let missing = missing.to_str().unwrap();
    let name = ["error: `--name a b`: a name has 2 to 64 characters", "hint: correct the option"];
    fails(&["token", "new", "--file", missing, "--role", "read", "--name", "a b"], 2, &name, "`--name a b`");
    let route =
        ["denied   `unclassified:unknown` needs the role `admin`", "; this version knows no such request of MLflow\n"];
    fails(&["policy", "--role", "read", "POST", "/api/2.0/mlflow/nothing"], 1, &route, "unclassified:unknown");
    let plan = ["deploy", "plan", "--mode", "serverless", "--region", "eu-west-1", "--config", missing];
    fails(&plan, 78, &["error: cannot read `", "No such file", "hint: check the path of `--config`"], missing);
    let pages = ["error: cannot write to `/proc/x`: ", "hint: make room"];
    fails(&["generate", "man-pages", "/proc/x"], 1, &pages, "/proc/x");
    let state =
        ["state: this instance has not configured itself yet\n", "error: the appliance on this instance is not ready"];
    fails(&["bootstrap", "status", "--state-directory", missing], 1, &state, "has not configured itself");
    let url = "the URL must start with `https://`, or with `http://` for this machine";
    fails(&["sandbox", "--mlflow-url", "ftp://x"], 2, &[url], url);
}

#[test]
fn a_check_distinguishes_a_dead_server_and_a_dead_proxy_from_a_firewall() {
    let dead = format!("http://127.0.0.1:{}", quiet_port());
    let check = ["check", "--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0", "--admin-listen", "off"];
    let (_, text) = said(&[&check[..], &["--upstream-endpoint", &dead]].concat(), &[]);
    assert!(text.contains("hint: start the server that listens there, or correct the address"), "{text}");
    let (_, text) = said(&check, &[("HTTPS_PROXY", &dead)]);
    assert!(
        text.contains("hint: check `HTTPS_PROXY` and that the proxy runs, or name the host in `NO_PROXY`"),
        "{text}"
    );
}

#[test]
fn two_lists_that_fail_for_one_reason_report_it_once() {
    let dead = format!("http://127.0.0.1:{}", quiet_port());
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL_SAGEMAKER", dead.as_str()),
    ];
    let (code, text) = said(&["targets", "--region", "eu-west-1"], &variables);
    assert!(code == Some(1) && text.matches("error: ").count() == 1, "{text}");
}

#[test]
fn a_profile_that_does_not_exist_is_named_with_its_fix() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    fs::write(&file, "[profile research]\nregion = eu-west-1\n").unwrap();
    let file = file.to_str().unwrap();
    let variables = [
        ("AWS_PROFILE", "reserch"),
        ("AWS_CONFIG_FILE", file),
        ("AWS_SHARED_CREDENTIALS_FILE", file),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let (code, text) = said(&["targets", "--region", "eu-west-1"], &variables);
    assert!(code == Some(1) && text.contains("profile `reserch` was not defined"), "{text}");
    assert!(text.contains("hint: correct AWS_PROFILE, or add that profile"), "{text}");
}

#[test]
fn the_log_states_the_reason_for_missing_credentials_once() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without_credentials().without_waiting().start();
    eventually("three attempts have failed", || {
        appliance.log().matches("the AWS credentials still could not be obtained").count() >= 2
    });
    let log = appliance.log();
    assert_eq!(log.matches("\"the AWS credentials could not be obtained\"").count(), 1, "{log}");
    assert_eq!(log.matches("tried Environment: environment variable not set; Profile: ").count(), 1, "{log}");
    assert!(log.contains("\"attempts\":2"), "{log}");
    assert!(!log.contains("\\n"), "each event is one line: {log}");
}

#[test]
fn the_summary_names_every_way_in_and_no_other() {
    let (directory, tokens) = (tempfile::tempdir().unwrap(), TokenFile::new());
    tokens.add("ci", "write", &[]);
    let file = directory.path().join("appliance.toml");
    let principal = "[[caller]]\nprincipal = \"arn:aws:iam::123456789012:role/ml-*\"\nrole = \"read\"\n";
    let of_tokens = format!("tokens = \"{}\"\n", tokens.path().display());
    for (configuration, expected) in [
        (
            format!("{of_tokens}aws-audience = \"a\"\n{principal}"),
            "holders of 1 valid token (0 expired), AWS identities\n",
        ),
        (format!("aws-audience = \"a\"\n{principal}"), "callers        AWS identities\n"),
        (of_tokens.clone(), "holders of 1 valid token (0 expired)\n"),
    ] {
        fs::write(&file, format!("resource-arn = \"{TRACKING_ARN}\"\nlisten = \"127.0.0.1:0\"\n{configuration}"))
            .unwrap();
        let (code, text) = said(&["check", "--offline", "--config", file.to_str().unwrap()], &[]);
        assert!(code == Some(0) && text.contains(expected), "{expected}: {text}");
    }
}
