//! Failures during an operation, and how the next run continues.

use std::process::{Command, Stdio};

use super::cloud::{Cloud, Script};
use super::{APPLY, CERTIFICATE, apply, configured, deploy, ready};
use crate::support::appliance::SECRET_ACCESS_KEY;
use crate::support::eventually;
use crate::support::upstream::Recorded;

const APPLIANCE: &str = "mlflow-appliance-tracking";

/// A larger disk, which is a change of the appliance's stack alone.
fn larger(cloud: &Cloud) -> (Option<i32>, String, String) {
    deploy(cloud, &[&APPLY[..], &["--parameter", "RootVolumeSize=30"]].concat())
}

fn failing(end: &'static str) -> Script {
    let events = vec![
        ("Template", "UPDATE_COMPLETE", ""),
        ("Group", "UPDATE_IN_PROGRESS", ""),
        ("Group", "UPDATE_FAILED", "Failed to receive 1 resource signal(s) for the current batch"),
        ("Other", "UPDATE_FAILED", "Resource update cancelled"),
        (APPLIANCE, "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Group]"),
        ("Template", "UPDATE_COMPLETE", ""),
    ];
    Script { events, end }
}

#[test]
fn a_failed_update_is_rolled_back_and_can_be_repeated() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().scripts.insert(APPLIANCE.into(), failing("UPDATE_ROLLBACK_COMPLETE"));
    let (code, _, said) = larger(&cloud);
    let error = said.split("error: ").nth(1).unwrap();
    let words = "mlflow-appliance-tracking is UPDATE_ROLLBACK_COMPLETE: Group (AWS::Test::Thing) UPDATE_FAILED: Failed to receive 1";
    assert!(
        code == Some(1)
            && error.starts_with(words)
            && error.contains("hint: the instance did not become")
            && error.contains("`aws autoscaling describe-scaling-activities --include-deleted-groups`"),
        "{said}"
    );
    assert_eq!(cloud.world().stacks[APPLIANCE].parameters["RootVolumeSize"], "20");
    cloud.world().scripts.clear();
    let (code, _, said) = larger(&cloud);
    assert!(code == Some(0) && !said.contains("left over"), "{said}");
    let world = cloud.world();
    let parameters = &world.stacks[APPLIANCE].parameters;
    assert_eq!((parameters["RootVolumeSize"].as_str(), parameters["DomainName"].as_str()), ("30", "mlflow.corp"));
}

#[test]
fn problems_that_cloudformation_finds_in_a_change_set_are_named() {
    let cloud = Cloud::start();
    ready(&cloud);
    let reason = "The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information.";
    let problem = ("Vpc", "/Resources/Vpc/Properties/CidrBlock", "#/CidrBlock: does not match the pattern");
    cloud.world().invalid = Some((reason, vec![problem, ("Key", "", "it exists already")]));
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "error: CloudFormation cannot compute the changes to mlflow-networking: The following hook(s)/validation failed",
        "\n  Vpc /Resources/Vpc/Properties/CidrBlock: #/CidrBlock: does not match the pattern\n",
        "\n  Key: it exists already\n",
        "hint: correct the parameter or template that it names",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Nothing is left, neither the change set nor the empty stack.
    assert_eq!(cloud.acts(), ["CreateChangeSet", "DeleteChangeSet", "DeleteStack"]);
    // Without the permission to read the problems, the reason stays.
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().invalid = Some((reason, Vec::new()));
    cloud.world().hiccups = vec![("DescribeEvents", 1, "AccessDenied")];
    let (code, _, said) = apply(&cloud);
    assert!(code == Some(1) && said.contains("use the DescribeEvents API"), "{said}");
}

#[test]
fn a_failed_rollback_is_retried() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().scripts.insert(APPLIANCE.into(), failing("UPDATE_ROLLBACK_FAILED"));
    let (code, _, said) = larger(&cloud);
    assert!(code == Some(1) && said.contains("is UPDATE_ROLLBACK_FAILED: Group"), "{said}");
    // Without consent, nothing is changed.
    let (code, _, said) = deploy(&cloud, &["apply", "--mode", "tracking"]);
    assert!(code == Some(1) && said.contains("Retry the rollback of mlflow-appliance-tracking?"), "{said}");
    assert!(!cloud.acts().contains(&"ContinueUpdateRollback".to_owned()));
    // The cause of the failure is still there.
    let stuck = Script {
        events: vec![("Group", "UPDATE_FAILED", "Template was deleted by hand")],
        end: "UPDATE_ROLLBACK_FAILED",
    };
    let mut world = cloud.world();
    world.scripts.clear();
    world.scripts.insert(format!("continue {APPLIANCE}"), stuck);
    drop(world);
    let (code, _, said) = larger(&cloud);
    assert!(code == Some(1) && said.contains("UPDATE_FAILED: Template was deleted by hand"), "{said}");
    cloud.world().scripts.clear();
    let (code, _, said) = larger(&cloud);
    assert!(code == Some(0) && said.contains("an update failed, and so did its rollback"), "{said}");
    assert_eq!(cloud.world().stacks[APPLIANCE].parameters["RootVolumeSize"], "30");
}

#[test]
fn watching_continues_after_throttling_and_closed_connections_and_reports_them() {
    let cloud = Cloud::start();
    ready(&cloud);
    // The first call for events is before the start, and finds the last that had happened by then.
    let look = "DescribeStackEvents";
    cloud.world().hiccups = vec![(look, 2, "Throttling"), (look, 2, ""), ("DescribeStacks", 12, "InternalFailure")];
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("DescribeStackEvents: Throttling: Rate exceeded; retrying CloudFormation in "), "{said}");
    assert!(said.contains("attempt 2 of 6") && said.contains("DescribeStacks: InternalFailure"), "{said}");
    assert_eq!(said.matches("retrying CloudFormation").count(), 3, "{said}");
    // The events of three creations and of the balancer's protection: each is shown once.
    let is_event = |line: &&str| line.contains("CREATE_COMPLETE") && line.contains(" Thing");
    assert_eq!(said.lines().filter(is_event).count(), 4, "{said}");
}

#[test]
fn events_are_shown_once_and_in_order_across_pages() {
    let cloud = Cloud::start();
    ready(&cloud);
    let names = ["A", "B", "C"];
    let mut events: Vec<_> = names.iter().map(|name| (*name, "CREATE_IN_PROGRESS", "")).collect();
    events.extend(names.iter().map(|name| (*name, "CREATE_COMPLETE", "")));
    let mut world = cloud.world();
    world.page = 2;
    world.scripts.insert("mlflow-networking".into(), Script { events, end: "CREATE_COMPLETE" });
    drop(world);
    let mut first = configured(&cloud).args(APPLY).args(CERTIFICATE).stderr(Stdio::null()).spawn().unwrap();
    eventually("some of it has happened", || {
        cloud.world().stacks.get("mlflow-networking").is_some_and(|stack| stack.events.len() > 2)
    });
    first.kill().unwrap();
    first.wait().unwrap();
    // The resumed command reads all events from the beginning, in pages.
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    let of_network = said.split("mlflow-mlflow-tracking").next().unwrap();
    let seen: Vec<&str> = of_network.lines().filter(|line| line.contains("CREATE_")).collect();
    let order: Vec<&str> = seen
        .iter()
        .filter_map(|line| names.into_iter().find(|name| line.split_whitespace().any(|word| word == *name)))
        .collect();
    assert_eq!(order, [names, names].concat(), "{said}");
    assert!(cloud.forms().iter().any(|form| form.contains_key("NextToken")));
}

/// `apply` with credentials that a program says, which a file holds.
fn with_credentials(cloud: &Cloud, directory: &std::path::Path) -> Command {
    let config = directory.join("config");
    let process = format!("[default]\ncredential_process = cat {}\n", directory.join("credentials.json").display());
    std::fs::write(&config, process).unwrap();
    let mut command = configured(cloud);
    command.args(APPLY).args(CERTIFICATE).env("AWS_CONFIG_FILE", config).env("PATH", "/usr/bin:/bin");
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command
}

fn write_credentials(directory: &std::path::Path, key: &str) {
    let file = directory.join("credentials.json");
    let new = directory.join("new.json");
    let text = serde_json::json!({"Version": 1, "AccessKeyId": key, "SecretAccessKey": SECRET_ACCESS_KEY});
    std::fs::write(&new, text.to_string()).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn credentials_that_expire_during_a_run_are_renewed_or_requested() {
    let cloud = Cloud::start();
    ready(&cloud);
    let directory = tempfile::tempdir().unwrap();
    let slow = Script { events: vec![("Thing", "CREATE_IN_PROGRESS", ""); 6], end: "CREATE_COMPLETE" };
    cloud.world().scripts.insert("mlflow-networking".into(), slow);
    let expire = |key: &str, next: &str| {
        write_credentials(directory.path(), key);
        let child = with_credentials(&cloud, directory.path()).stderr(Stdio::piped()).spawn().unwrap();
        let signed = format!("Credential={key}/");
        let is_signed = |one: &Recorded| one.headers.iter().any(|(_, value)| value.contains(&signed));
        eventually("it has begun", || {
            let is_running =
                cloud.world().stacks.get("mlflow-networking").is_some_and(|one| one.status.starts_with("CREATE"));
            is_running && cloud.upstream.requests().iter().any(is_signed)
        });
        write_credentials(directory.path(), next);
        cloud.world().expired.clone_from(&signed);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The session has not been renewed.
    let (code, said) = expire("AKIDOLD", "AKIDOLD");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ExpiredToken") && said.contains("attempt 3 of 3"), "{said}");
    assert!(said.contains("hint: renew the session (`aws sso login`)"), "{said}");
    // The same command resumes, now with a renewed session.
    let (code, said) = expire("AKIDNEW", "AKIDNEWER");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ExpiredToken") && said.contains("attempt 2 of 3"), "{said}");
}

#[test]
fn quiet_periods_name_the_pending_resource() {
    let cloud = Cloud::start();
    ready(&cloud);
    let mut events = vec![("Server", "CREATE_IN_PROGRESS", "")];
    events.extend([("", "", ""); 12]);
    events.push(("Server", "CREATE_COMPLETE", ""));
    cloud.world().scripts.insert("mlflow-networking".into(), Script { events, end: "CREATE_COMPLETE" });
    cloud.world().hiccups = vec![("CreateChangeSet", 1, "slow")];
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("… CloudFormation has not answered CreateChangeSet for 5 s\n"), "{said}");
    assert!(said.contains("… AWS is still working on Server ("), "{said}");
}

#[test]
fn an_interrupted_creation_still_ends_with_a_protected_balancer() {
    let cloud = Cloud::start();
    ready(&cloud);
    let slow = Script { events: vec![("Thing", "CREATE_IN_PROGRESS", ""); 6], end: "CREATE_COMPLETE" };
    cloud.world().scripts.insert(APPLIANCE.into(), slow);
    let mut first = configured(&cloud).args(APPLY).args(CERTIFICATE).stderr(Stdio::null()).spawn().unwrap();
    eventually("the last has begun", || {
        cloud.world().stacks.get(APPLIANCE).is_some_and(|stack| stack.status == "CREATE_IN_PROGRESS")
    });
    first.kill().unwrap();
    first.wait().unwrap();
    let protection = || cloud.world().stacks[APPLIANCE].parameters["DeletionProtection"].clone();
    assert_eq!(protection(), "false");
    cloud.world().scripts.clear();
    let (code, _, said) = deploy(&cloud, &APPLY);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(protection(), "true", "{said}");
    let world = cloud.world();
    assert!(world.stacks[APPLIANCE].protected && world.stacks[APPLIANCE].parameters["DomainName"] == "mlflow.corp");
}

#[test]
fn the_values_of_a_failed_creation_are_kept() {
    let cloud = Cloud::start();
    ready(&cloud);
    let failing = Script { events: vec![("Thing", "CREATE_FAILED", "no")], end: "ROLLBACK_COMPLETE" };
    cloud.world().scripts.insert(APPLIANCE.into(), failing);
    assert_eq!(apply(&cloud).0, Some(1));
    cloud.world().scripts.clear();
    let (code, _, said) = deploy(&cloud, &APPLY);
    assert_eq!(code, Some(0), "{said}");
    let world = cloud.world();
    let parameters = &world.stacks[APPLIANCE].parameters;
    assert_eq!((parameters["DomainName"].as_str(), parameters["DeletionProtection"].as_str()), ("mlflow.corp", "true"));
}

#[test]
fn an_interrupted_deletion_is_resumed() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    let mut world = cloud.world();
    let slow = Script { events: vec![("Thing", "DELETE_IN_PROGRESS", ""); 3], end: "DELETE_COMPLETE" };
    world.scripts.insert(format!("delete {APPLIANCE}"), slow);
    drop(world);
    let destroy = ["destroy", "--yes", "--mode", "tracking", "--shared"];
    let mut child = configured(&cloud).args(destroy).stderr(Stdio::null()).spawn().unwrap();
    eventually("it has begun", || cloud.world().stacks[APPLIANCE].status == "DELETE_IN_PROGRESS");
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, _, said) = deploy(&cloud, &destroy);
    assert!(code == Some(0) && cloud.world().stacks.is_empty(), "{said}");
    assert!(
        said.contains("mlflow-appliance-tracking is DELETE_IN_PROGRESS: waiting for that operation first"),
        "{said}"
    );
}

/// Hostile text: a window title, a cursor movement, a colour by C1, reversed letters, and a line that imitates another.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2A\r\u{9b}31m\u{202e}\u{2066}evil\u{7f}\nexport X=1";

#[track_caller]
fn is_harmless(text: &str) {
    let obeyed = |one: &char| {
        (one.is_control() && *one != '\n')
            || matches!(one, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(obeyed), None, "{text:?}");
    assert!(text.contains("evil"), "the rest is shown: {text:?}");
}

#[test]
fn control_characters_of_others_do_not_reach_the_terminal() {
    let cloud = Cloud::start();
    ready(&cloud);
    let script = Script {
        events: vec![("Thing", "CREATE_IN_PROGRESS", EVIL), ("Thing", "CREATE_FAILED", EVIL)],
        end: "CREATE_FAILED",
    };
    cloud.world().scripts.insert("mlflow-networking".into(), script);
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(1), "{said}");
    is_harmless(&said);

    cloud.world().scripts.clear();
    cloud.world().outputs.get_mut("mlflow-networking").unwrap().push(("Evil", EVIL));
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    let (_, shown, _) = deploy(&cloud, &["outputs", "--mode", "tracking"]);
    is_harmless(&shown);
    assert!(!shown.contains("\nexport"), "an output is one line: {shown}");
    let (_, shown, _) = deploy(&cloud, &["outputs", "--mode", "tracking", "--json"]);
    is_harmless(&shown);
    let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let kept = document["mlflow-networking"]["Evil"].as_str().unwrap();
    assert!(kept.contains("\u{1b}]0;owned") && kept.contains('\u{202e}'), "a document loses nothing: {kept:?}");
}

#[test]
fn a_line_for_eval_is_one_value_or_an_error() {
    let cloud = Cloud::start();
    ready(&cloud);
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    let line = |url: &str| {
        let mut world = cloud.world();
        world
            .stacks
            .get_mut("mlflow-appliance-tracking")
            .unwrap()
            .outputs
            .insert("Url".into(), url.replace('&', "&amp;"));
        drop(world);
        deploy(&cloud, &["outputs", "--env", "--mode", "tracking"])
    };
    for url in [
        "https://x;touch /tmp/PWNED",
        "https://x\ntouch /tmp/PWNED",
        "https://x\r\u{1b}[2K",
        "https://user:secret@x",
        "https://",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "$(touch /tmp/PWNED)",
        "https://ümläut\u{202e}.example",
        "",
    ] {
        let (code, shown, said) = line(url);
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{url:?}");
        assert!(said.contains("not the URL of a web server") && said.contains("hint: "), "{said}");
    }
    for url in ["https://mlflow.corp", "http://10.0.0.1:5000/", "https://x/$(touch${IFS}PWNED)`id`;id&id|id>PWNED'\"\\"]
    {
        let (code, shown, said) = line(url);
        assert_eq!(code, Some(0), "{said}");
        let directory = tempfile::tempdir().unwrap();
        let mut shell = std::process::Command::new("sh");
        let shell =
            shell.current_dir(&directory).args(["-c", "eval \"$0\"; printf %s \"$MLFLOW_TRACKING_URI\"", &shown]);
        assert_eq!(String::from_utf8(shell.output().unwrap().stdout).unwrap(), url);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "nothing ran");
    }
}
