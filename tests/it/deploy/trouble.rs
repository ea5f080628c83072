//! What goes wrong on the way, and how it goes on.

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
fn a_change_that_fails_is_taken_back_and_can_be_made_again() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().scripts.insert(APPLIANCE.into(), failing("UPDATE_ROLLBACK_COMPLETE"));
    let (code, _, said) = larger(&cloud);
    let error = said.split("error: ").nth(1).unwrap();
    let words = "mlflow-appliance-tracking is UPDATE_ROLLBACK_COMPLETE: Group (AWS::Test::Thing) UPDATE_FAILED: Failed to receive 1";
    assert!(
        code == Some(1) && error.starts_with(words) && error.contains("hint: the instance did not become"),
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
fn a_stack_that_cannot_go_back_tries_again() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().scripts.insert(APPLIANCE.into(), failing("UPDATE_ROLLBACK_FAILED"));
    let (code, _, said) = larger(&cloud);
    assert!(code == Some(1) && said.contains("is UPDATE_ROLLBACK_FAILED: Group"), "{said}");
    // Nobody agrees: nothing is done.
    let (code, _, said) = deploy(&cloud, &["apply", "--mode", "tracking"]);
    assert!(code == Some(1) && said.contains("Let mlflow-appliance-tracking try again to go back?"), "{said}");
    assert!(!cloud.acts().contains(&"ContinueUpdateRollback".to_owned()));
    // What is in the way still is.
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
    assert!(code == Some(0) && said.contains("an update failed, and then the way back"), "{said}");
    assert_eq!(cloud.world().stacks[APPLIANCE].parameters["RootVolumeSize"], "30");
}

#[test]
fn watching_goes_on_when_aws_throttles_or_hangs_up_and_says_so() {
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
    // Of three starts, and of the balancer's protection; none is lost, none is seen twice.
    let is_event = |line: &&str| line.contains("CREATE_COMPLETE") && line.contains(" Thing");
    assert_eq!(said.lines().filter(is_event).count(), 4, "{said}");
}

#[test]
fn events_are_shown_in_order_and_once_whatever_the_pages() {
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
    // What takes it up reads everything from the beginning, in pages.
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
fn credentials_that_expire_on_the_way_are_renewed_or_asked_for() {
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
    // Nobody has signed in anew.
    let (code, said) = expire("AKIDOLD", "AKIDOLD");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ExpiredToken") && said.contains("attempt 3 of 3"), "{said}");
    assert!(said.contains("hint: renew the session (`aws sso login`)"), "{said}");
    // The same command takes up where it is, and now somebody does.
    let (code, said) = expire("AKIDNEW", "AKIDNEWER");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ExpiredToken") && said.contains("attempt 2 of 3"), "{said}");
}

#[test]
fn while_nothing_happens_it_is_said_what_is_waited_for() {
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
    assert!(said.contains("… AWS is still at Server ("), "{said}");
}

#[test]
fn a_start_that_was_interrupted_still_ends_with_the_balancer_protected() {
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
fn what_was_said_for_a_start_that_failed_need_not_be_said_again() {
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
fn a_removal_that_was_interrupted_is_taken_up_again() {
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
    assert!(said.contains("mlflow-appliance-tracking is DELETE_IN_PROGRESS: watching that first"), "{said}");
}

/// A title, a cursor that goes up, a colour by C1, letters turned around, and a line that pretends to be another.
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
fn what_others_have_written_does_nothing_to_a_terminal() {
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
fn a_line_for_eval_is_one_value_or_is_refused() {
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
