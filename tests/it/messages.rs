//! Error messages name the operation, the object and the reason once, with the fix that fits the reason.

use std::fs;

use crate::support::appliance::{Builder, TRACKING_ARN, run};
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

#[test]
fn a_message_names_its_object_once_and_the_fix_for_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.toml");
    fs::write(&tokens, "token = [\n").unwrap();
    let (tokens, missing) = (tokens.to_str().unwrap(), directory.path().join("missing/file"));
    let missing = missing.to_str().unwrap();
    for (arguments, code, expected, object) in [
        (
            serve(&["--listen", "192.0.2.7:5000", "--allow-anonymous"]),
            78,
            vec![
                "error: cannot listen on `192.0.2.7:5000`",
                "hint: set `--listen` or `--admin-listen` to an address of this",
            ],
            "192.0.2.7:5000",
        ),
        (
            serve(&["--listen", "127.0.0.1:0", "--audit-log", missing]),
            78,
            vec![
                "error: cannot open the audit log `",
                "caused by: No such file",
                "hint: name a file in a writable directory",
            ],
            missing,
        ),
        (
            serve(&["--tokens", missing]),
            78,
            vec![
                "--tokens: cannot read the token file `",
                "No such file",
                "hint: name a file that `appliance token new` made",
            ],
            missing,
        ),
        (serve(&["--tokens", tokens]), 78, vec!["--tokens: cannot read the token file `", "`: line 1: "], tokens),
        (serve(&["--deny", "foo"]), 78, vec!["--deny: the rule `foo`: a rule has the form `resource:action`"], "`foo`"),
        (
            serve(&["--deny", "experiments:delete@boss"]),
            78,
            vec!["--deny: the rule `experiments:delete@boss`: a role is `read`, `write` or `admin`\n"],
            "experiments:delete",
        ),
        (
            serve(&["--allowed-networks", "10.0.0.0/33"]),
            78,
            vec!["--allowed-networks: `10.0.0.0/33` is not a network"],
            "10.0.0.0/33",
        ),
        (
            vec!["token", "new", "--file", missing, "--role", "read", "--name", "a b"],
            2,
            vec!["error: `--name a b`: a name has 2 to 64 characters", "hint: correct the option"],
            "`--name a b`",
        ),
        (
            vec!["policy", "--role", "read", "POST", "/api/2.0/mlflow/nothing"],
            1,
            vec![
                "denied   `unclassified:unknown` needs the role `admin`",
                "; this version knows no such request of MLflow\n",
            ],
            "unclassified:unknown",
        ),
        (
            vec!["deploy", "plan", "--mode", "serverless", "--region", "eu-west-1", "--config", missing],
            78,
            vec!["error: cannot read `", "No such file", "hint: check the path of `--config`"],
            missing,
        ),
        (
            vec!["generate", "man-pages", "/proc/x"],
            1,
            vec!["error: cannot write to `/proc/x`: ", "hint: make room"],
            "/proc/x",
        ),
        (
            vec!["bootstrap", "status", "--state-directory", missing],
            1,
            vec![
                "state: this instance has not configured itself yet\n",
                "error: the appliance on this instance is not ready",
            ],
            "has not configured itself",
        ),
        (
            vec!["sandbox", "--mlflow-url", "ftp://x"],
            2,
            vec!["the URL must start with `https://`, or with `http://` for this machine"],
            "the URL must start",
        ),
    ] {
        let (ended, text) = said(&arguments, &[("AWS_EC2_METADATA_DISABLED", "true")]);
        assert_eq!(ended, Some(code), "{arguments:?}: {text}");
        for part in expected {
            assert!(text.contains(part), "`{part}` is missing for {arguments:?}:\n{text}");
        }
        assert_eq!(text.matches(object).count(), 1, "`{object}` stands once for {arguments:?}:\n{text}");
        assert!(!text.contains("serving "), "{arguments:?} serves nothing:\n{text}");
    }
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
        appliance.log().matches("AWS credentials still not obtained").count() >= 2
    });
    let log = appliance.log();
    assert_eq!(log.matches("\"AWS credentials not obtained\"").count(), 1, "{log}");
    assert_eq!(log.matches("tried Environment: environment variable not set; Profile: ").count(), 1, "{log}");
    assert!(log.contains("\"attempts\":2"), "{log}");
    assert!(!log.contains("\\n"), "each event is one line: {log}");
}
