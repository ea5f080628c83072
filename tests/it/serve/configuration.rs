//! All problems of a configuration are reported together, before the appliance listens.

use std::fs;

use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Builder, TRACKING_ARN, run};
use crate::support::upstream::Upstream;

/// The exit code and the text of a run that fails.
#[track_caller]
fn failure(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let output = run(&[&["serve"], arguments].concat(), &[&[("APPLIANCE_LISTEN", "127.0.0.1:0")], variables].concat());
    assert!(output.stdout.is_empty(), "errors go to standard error");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("listening"), "{text}");
    (output.status.code().expect("an exit code"), text)
}

#[test]
fn the_text_of_a_file_can_be_in_a_variable() {
    let text = format!(
        "resource-arn = \"{APP_ARN}\"\naws-audience = \"mlflow\"\n\n[[caller]]\n\
         principal = \"arn:aws:iam::123456789012:role/ml-*\"\nrole = \"read\"\n"
    );
    let check = |text: &str, more: &[&str]| {
        let variables = [("APPLIANCE_LISTEN", "127.0.0.1:0"), ("APPLIANCE_CONFIG_TEXT", text)];
        let output = run(&[&["check", "--offline"], more].concat(), &variables);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), said.into_owned())
    };
    let (code, said) = check(&text, &[]);
    assert!(code == 0 && said.contains("valid; 1 target"), "{said}");
    // Flags win over it, as over a file.
    let (code, said) = check(&text, &["--resource-arn", "nonsense"]);
    assert!(code == 78 && said.contains("--resource-arn: "), "{said}");
    // A problem names its line, and a text that is no TOML is the only problem.
    let (code, said) = check(&text.replace("role = \"read\"", "role = \"reader\""), &[]);
    assert!(code == 78 && said.contains("APPLIANCE_CONFIG_TEXT:6: "), "{said}");
    let (code, said) = check("listen = \n", &[]);
    assert!(code == 78 && said.contains("error: 1 problem") && said.contains("APPLIANCE_CONFIG_TEXT:1: "), "{said}");
    // An empty variable is none.
    assert_eq!(check("", &["--resource-arn", APP_ARN]).0, 0);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    fs::write(&file, &text).unwrap();
    let (code, said) = check(&text, &["--config", file.to_str().unwrap()]);
    assert!(code == 78 && said.contains("set the variable or name a file, not both"), "{said}");
}

#[test]
fn each_wrong_value_is_reported_with_its_origin_its_cause_and_a_hint() {
    let arn = |arn: &'static str| ("--resource-arn", arn);
    for ((flag, value), cause, hint) in [
        (arn("nonsense"), "it is not an ARN", "copy the ARN"),
        (
            arn("arn:aws:sagemaker:xx-nowhere-9:123456789012:mlflow-app/a"),
            "unknown region `xx-nowhere-9`",
            "copy the ARN",
        ),
        (
            arn("arn:aws-cn:sagemaker:cn-north-1:123456789012:mlflow-app/a"),
            "does not offer managed MLflow in partition `aws-cn`",
            "copy",
        ),
        (
            arn("arn:nowhere:sagemaker:us-east-1:123456789012:mlflow-app/a"),
            "unknown partition `nowhere`",
            "copy the ARN",
        ),
        (arn("arn:aws:sagemaker:us-east-1:1:mlflow-app/a"), "expected 12 digits", "copy the ARN"),
        (
            ("--region", "eu-west-1"),
            "the region is `eu-west-1`, but the ARN is in `us-east-1`",
            "set it to `us-east-1`",
        ),
        (("--role-arn", "arn:aws:iam::123456789012:user/a"), "not the ARN of a role", "IAM console"),
        (("--ca-file", "/does/not/exist"), "cannot read certificates from `/does/not/exist`", "PEM file"),
        (("--upstream-endpoint", "http://example.com"), "plain http is allowed to this machine only", "https://host"),
        (("--upstream-endpoint", "https://host/path"), "a host and a port only", "https://host"),
        (("--listen", "localhost"), "not an address with a port", "127.0.0.1:5000"),
        (("--keep-alive", "30"), "not a duration", "`30s`"),
        (("--body-size-limit", "many"), "not a size", "`1 MiB`"),
        (("--workers", "0"), "at least 1", "whole number"),
        (("--upstream-http2", "--upstream-http2=perhaps"), "neither `true` nor `false`", "write `true` or `false`"),
        (("--spool-directory", "/does/not/exist"), "cannot hold large request bodies", "writable directory"),
        (("--log-format", "xml"), "not a log format", "`text` or `json`"),
        (("--log-filter", "appliance=shout"), "not a log filter", "`error`, `warn`"),
    ] {
        let with_value = [flag, value];
        let arguments: &[&str] = if value.starts_with("--") { &with_value[1..] } else { &with_value };
        let base: &[(&str, &str)] =
            if flag == "--resource-arn" { &[] } else { &[("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)] };
        let (code, text) = failure(arguments, base);
        assert_eq!(code, 78, "{flag} {value}: {text}");
        for part in [flag, cause, "hint: ", hint] {
            assert!(text.contains(part), "{flag} {value}: `{part}` is missing in\n{text}");
        }
    }
}

#[test]
fn problems_of_files_flags_and_variables_are_reported_together() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    fs::write(&file, "# first line\nresorce-arn = \"x\"\nkeep-alive = 30\nlisten = [1, 2]\n").unwrap();
    let file = file.to_str().unwrap();
    let (code, text) = failure(
        &["--config", file, "--workers", "none"],
        &[("SM_MLFLOW_RESOURCE_ARN", "arn"), ("APPLIANCE_HEAD_TIMEOUT", "now")],
    );
    assert_eq!(code, 78);
    assert!(text.starts_with("error: 6 problems in the configuration"), "{text}");
    for part in [
        format!("{file}:2: `resorce-arn` is not an option\n    hint: did you mean `resource-arn`?"),
        format!("{file}:3: keep-alive: `30` is not a duration\n    hint: write a number with a unit"),
        format!("{file}:4: `listen` must be"),
        "--workers: `none` is not a whole number".to_owned(),
        "SM_MLFLOW_RESOURCE_ARN: `arn`: it is not an ARN".to_owned(),
        "APPLIANCE_HEAD_TIMEOUT: `now` is not a duration".to_owned(),
    ] {
        assert!(text.contains(&part), "`{part}` is missing in\n{text}");
    }
}

#[test]
fn a_missing_option_and_an_unreadable_file_are_reported() {
    let (code, text) = failure(&[], &[]);
    assert_eq!(code, 78);
    assert!(text.contains("no managed MLflow is configured") && text.contains("SM_MLFLOW_RESOURCE_ARN"), "{text}");
    let (code, text) = failure(&["--config", "/does/not/exist.toml", "--resource-arn", APP_ARN], &[]);
    assert_eq!(code, 78);
    assert!(text.contains("/does/not/exist.toml: cannot read the file: No such file"), "{text}");
}

#[test]
fn an_unreadable_file_is_the_only_problem() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.toml");
    fs::write(&broken, "workers = 1\nlisten = \n").unwrap();
    for (file, place) in [
        ("/does/not/exist.toml", "/does/not/exist.toml: cannot read the file"),
        ("/dev/zero", "/dev/zero: cannot read the file: it is larger than 4194304 bytes"),
        (broken.to_str().unwrap(), ":2: "),
    ] {
        let (code, text) = failure(&["--config", file], &[]);
        assert_eq!(code, 78);
        assert!(text.starts_with("error: 1 problem in the configuration") && text.contains(place), "{text}");
    }
}

#[test]
fn problems_of_the_file_are_in_the_order_of_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    fs::write(
        &file,
        "workers = 0\nnonsense = 1\nlisten = \"x\"\n\nkeep-alive = 3\n[[target]]\nresource-arn = \"x\"\n[[caller]]\nrole = \"x\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let (_, text) = failure(&["--config", file, "--head-timeout", "x"], &[]);
    let lines: Vec<usize> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(file)?.strip_prefix(':')?.split(':').next()?.parse().ok())
        .collect();
    assert!(lines.len() >= 6 && lines.is_sorted(), "{lines:?}: {text}");
}

#[test]
fn an_option_of_a_target_is_rejected_beside_target_tables() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let targets = format!(
        "[[target]]\nname = \"research\"\nresource-arn = \"{TRACKING_ARN}\"\n\n\
         [[target]]\nname = \"ads\"\nresource-arn = \"{APP_ARN}\"\n"
    );
    fs::write(&file, &targets).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let refused = |arguments: &[&str], variables: &[(&str, &str)], place: &str, line: usize| {
        for command in ["serve", "check"] {
            let arguments = [&[command], &config[..], arguments].concat();
            let variables = [variables, &[("APPLIANCE_LISTEN", "127.0.0.1:0")]].concat();
            let output = run(&arguments, &variables);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{arguments:?} {variables:?}: {text}");
            let at = format!("{}:{line}", file.display());
            assert!(text.contains(&format!("{place}: ")) && text.contains(&at), "{text}");
            assert!(text.contains("error: 1 problem") && text.contains("hint: "), "{text}");
        }
    };
    let role = "arn:aws:iam::123456789012:role/x";
    refused(&[], &[("SM_MLFLOW_RESOURCE_ARN", APP_ARN)], "SM_MLFLOW_RESOURCE_ARN", 1);
    refused(&["--resource-arn", APP_ARN], &[], "--resource-arn", 1);
    refused(&[], &[("SM_MLFLOW_AWS_REGION", "us-east-1")], "SM_MLFLOW_AWS_REGION", 1);
    refused(&[], &[("SM_MLFLOW_ROLE_ARN", role)], "SM_MLFLOW_ROLE_ARN", 1);
    refused(&[], &[("APPLIANCE_ARTIFACT_STORE", "auto")], "APPLIANCE_ARTIFACT_STORE", 1);
    refused(&[], &[("APPLIANCE_UPSTREAM_ENDPOINT", "https://x")], "APPLIANCE_UPSTREAM_ENDPOINT", 1);
    fs::write(&file, format!("resource-arn = \"{APP_ARN}\"\n\n{targets}")).unwrap();
    refused(&[], &[], &format!("{}:1", file.display()), 3);
}

#[test]
fn a_mistyped_variable_is_reported_with_the_one_that_was_meant() {
    let base = ("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN);
    for (name, meant) in [
        ("APPLIANCE_LISTN", "APPLIANCE_LISTEN"),
        ("APPLIANCE_TOKEN", "APPLIANCE_TOKENS"),
        ("APPLIANCE_ALLOWED_HOST", "APPLIANCE_ALLOWED_HOSTS"),
        ("SM_MLFLOW_ROLE_ARM", "SM_MLFLOW_ROLE_ARN"),
    ] {
        for command in [&["serve"][..], &["check", "--offline"], &["ui"]] {
            let output = run(command, &[base, (name, "x")]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{command:?} {name}: {text}");
            let said = format!("{name}: the appliance has no such variable\n    hint: did you mean `{meant}`?");
            assert!(text.contains(&said), "{text}");
        }
    }
    let output = run(&["deploy", "cost"], &[("APPLIANCE_DEPLOY_MOD", "tracking")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `APPLIANCE_DEPLOY_MODE`?"));
    assert_eq!(output.status.code(), Some(78));

    // A variable that resembles none of ours may be meant for another program. Kubernetes sets such ones for a service of this name.
    let output = run(&["check", "--offline", "--listen", "127.0.0.1:0"], &[base, ("APPLIANCE_XYZ", "1")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("APPLIANCE_XYZ: the appliance has no such variable"), "{text}");
    for name in ["APPLIANCE_SERVICE_HOST", "APPLIANCE_PORT", "APPLIANCE_PORT_5000_TCP", "APPLIANCE_LISTN"] {
        let value = if name == "APPLIANCE_LISTN" { "" } else { "x" };
        let output = run(&["check", "--offline", "--listen", "127.0.0.1:0"], &[base, (name, value)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains(name), "{text}");
    }
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).env("APPLIANCE_XYZ", "1").start();
    assert!(appliance.log().contains("\"setting\":\"APPLIANCE_XYZ\""), "{}", appliance.log());
}

#[test]
fn the_log_begins_with_a_line_about_the_whole() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).start();
    let log = appliance.log();
    let first = log.lines().next().unwrap();
    for part in ["serving arn:aws:sagemaker:", "every client on this machine, as admin", "status page: "] {
        assert!(first.contains(part), "{part}: {first}");
    }
}

#[test]
fn wrong_usage_and_a_wrong_configuration_have_different_exit_codes() {
    for arguments in [&["serve", "--no-such-flag"][..], &["no-such-command"], &[]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["sandbox", "--help"]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn listening_beyond_this_machine_without_authentication_has_to_be_allowed() {
    let base = [("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)];
    let output = run(&["serve", "--listen", "0.0.0.0:0"], &base);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("other machines can connect to") && text.contains("--allow-anonymous"), "{text}");
}

#[test]
fn the_three_variables_of_the_aws_sample_work() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream)
        .env("SM_MLFLOW_RESOURCE_ARN", APP_ARN)
        .env("SM_MLFLOW_AWS_REGION", "eu-west-1")
        .env("SM_MLFLOW_ROLE_ARN", "")
        .start();
    appliance.get("/x");
    assert_eq!(upstream.only_request().header("x-sm-mlflow-app-arn"), APP_ARN);
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let upstream = Upstream::ok();
    let toml = "body-size-limit = 10\nbody-memory-limit = \"10 B\"\nkeep-alive = \"5s\"\nallow-anonymous = true\n";
    fs::write(&file, toml).unwrap();
    let limit_after = |arguments: &[&str], variable: &str| {
        let builder = Builder::new(&upstream).with(&["--config", file.to_str().unwrap()]).with(arguments);
        let appliance = builder.env("APPLIANCE_BODY_SIZE_LIMIT", variable).start();
        let fits = |length| appliance.connect().request("PUT", "/x", &[], Some(&vec![0; length])).status == 200;
        [5, 15, 25, 35].into_iter().filter(|length| fits(*length)).max()
    };
    assert_eq!(limit_after(&[], ""), Some(5), "the file");
    assert_eq!(limit_after(&[], "20"), Some(15), "a variable over the file");
    assert_eq!(limit_after(&["--body-size-limit", "30"], "20"), Some(25), "a flag over both");
}
