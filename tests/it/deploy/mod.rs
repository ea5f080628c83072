//! `appliance deploy` against a CloudFormation that follows a script.

mod account;
mod cloud;
mod fargate;
mod foresight;
mod ownership;
mod preflight;
mod serve_configuration;
mod trouble;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, command, full_binary};
use crate::support::eventually;
use cloud::{Cloud, Script};
pub use ownership::stack_tags;

/// Outputs that the stacks of the templates have, as far as later ones want them.
fn ready(cloud: &Cloud) {
    let mut world = cloud.world();
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
    world.outputs.insert(
        "mlflow-networking".into(),
        vec![
            ("VpcId", "vpc-0123456789abcdef0"),
            ("VpcCidr", "10.0.0.0/16"),
            ("EndpointClientSecurityGroupId", "sg-0123456789abcdef0"),
            ("EndpointSecurityGroupId", "sg-0123456789abcdef1"),
            ("PublicSubnetIds", "subnet-01234567,subnet-01234568"),
            ("PublicSubnetCidrs", "10.0.0.0/24,10.0.1.0/24"),
            ("PrivateSubnetIds", "subnet-01234569,subnet-0123456a"),
            ("PrivateSubnetCidrs", "10.0.32.0/20,10.0.64.0/20"),
            ("IsolatedSubnetIds", "subnet-0123456b,subnet-0123456c"),
        ],
    );
    for mode in ["tracking", "serverless"] {
        world.outputs.insert(
            format!("mlflow-mlflow-{mode}"),
            vec![
                ("ResourceArn", arn),
                ("ArtifactBucket", "bucket"),
                ("ArtifactKmsKeyArn", ""),
                ("ArtifactStoreUri", "s3://bucket/mlflow"),
            ],
        );
        let outputs = vec![
            ("Url", "https://mlflow.corp"),
            ("LoadBalancerDnsName", "balancer.elb.amazonaws.com"),
            ("TokenSecretArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:TokenSecret-x"),
        ];
        world.outputs.insert(format!("mlflow-appliance-{mode}"), outputs);
        let outputs = vec![
            ("Url", "http://tasks.elb.amazonaws.com"),
            ("LoadBalancerDnsName", "tasks.elb.amazonaws.com"),
            ("TokenSecretArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:TokenSecret-y"),
        ];
        world.outputs.insert(format!("mlflow-fargate-{mode}"), outputs);
    }
}

fn deploy(cloud: &Cloud, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = configured(cloud).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn configured(cloud: &Cloud) -> Command {
    let mut command = command(&["deploy"]);
    command
        .env("AWS_ENDPOINT_URL", cloud.upstream.url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    command
}

/// Runs the command at a terminal, which `script` provides, and returns what the terminal shows.
fn at_a_terminal(cloud: &Cloud, arguments: &[&str], answers: &str) -> String {
    let line = format!("{} deploy {}", full_binary().display(), arguments.join(" "));
    let mut command = Command::new("script");
    for (name, value) in configured(cloud).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("NO_COLOR", "").args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const APPLY: [&str; 4] = ["apply", "--yes", "--mode", "tracking"];
const CERTIFICATE: [&str; 4] = [
    "--parameter",
    "CertificateArn=arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
    "--parameter",
    "DomainName=mlflow.corp",
];

fn apply(cloud: &Cloud) -> (Option<i32>, String, String) {
    deploy(cloud, &[&APPLY[..], &CERTIFICATE[..]].concat())
}

#[test]
fn stacks_are_created_in_order_with_the_outputs_of_earlier_stacks() {
    let cloud = Cloud::start();
    ready(&cloud);
    let (code, shown, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shown, "export MLFLOW_TRACKING_URI='https://mlflow.corp'\n");
    assert!(said.contains("+ add") && said.contains("[permissions]"), "{said}");
    assert!(said.contains("point the name mlflow.corp at balancer.elb.amazonaws.com"), "{said}");
    assert!(said.contains("appliance token new --file secretsmanager:arn:aws:secretsmanager:us-east-1:"), "{said}");
    let each = ["CreateChangeSet", "ExecuteChangeSet", "UpdateTerminationProtection"];
    let acts = cloud.acts();
    assert_eq!(acts[..6], each.repeat(2));
    // A start that fails could not be undone if the load balancer kept itself: that comes last.
    assert_eq!(acts[6..], [&each[..2], &each[..]].concat());
    let protected = |form: &BTreeMap<String, String>| {
        let named = form.iter().find(|(_, text)| *text == "DeletionProtection");
        named.map(|(key, _)| form[&key.replace("Key", "Value")].clone())
    };
    let protections: Vec<String> = cloud.forms().iter().filter_map(protected).collect();
    assert_eq!(protections, ["false", "true"]);
    let world = cloud.world();
    let appliance = &world.stacks["mlflow-appliance-tracking"].parameters;
    assert_eq!(appliance["VpcId"], "vpc-0123456789abcdef0");
    assert_eq!(appliance["Mode"], "tracking");
    assert!(appliance["ResourceArn"].ends_with("/ts1"), "{appliance:?}");
    assert!(world.stacks.values().all(|stack| stack.protected && stack.status.ends_with("E_COMPLETE")));
    drop(world);

    // Another architecture has another image.
    let arguments = [&APPLY[..], &CERTIFICATE[..], &["--parameter", "Architecture=arm64"]].concat();
    let (code, _, said) = deploy(&cloud, &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        cloud.world().stacks["mlflow-appliance-tracking"].parameters["AmiParameter"],
        "/mlflow-appliance/ami/arm64"
    );

    // Again: nothing to do, and the other mode beside it shares the network.
    let (code, _, said) = apply(&cloud);
    assert!(code == Some(0) && said.matches("no changes").count() == 3 && !said.contains("next:"), "{said}");
    let arguments = ["apply", "--yes", "--mode", "serverless"];
    let (code, shown, said) = deploy(&cloud, &[&arguments[..], &["--json"], &CERTIFICATE[..]].concat());
    assert!(code == Some(0) && said.contains("mlflow-networking: no changes"), "{said}");
    let outputs: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(outputs["Url"].as_str().is_some_and(|url| url.starts_with("http")), "{shown}");
    assert_eq!(cloud.world().stacks.len(), 5);
}

#[test]
fn invalid_values_are_rejected_before_aws_is_called() {
    let cloud = Cloud::start();
    let refused = [
        (vec!["--parameter", "Nonsense=1"], "no template has the parameter Nonsense"),
        (vec!["--parameter", "NatMode=many"], "NatMode: `many`: it is not one of"),
        (
            vec![
                "--parameter",
                "ExistingResourceArn=arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456",
            ],
            "its MLflow is of the other mode, `--mode serverless`",
        ),
        (vec!["--region", "af-south-1", "--mode", "serverless"], "there is no serverless MLflow in af-south-1"),
    ];
    for (more, reason) in refused {
        let mut arguments = vec!["apply", "--yes"];
        if !more.contains(&"--mode") {
            arguments.extend(["--mode", "tracking"]);
        }
        arguments.extend(more);
        let (code, _, said) = deploy(&cloud, &arguments);
        assert!(code == Some(78) && said.contains(reason), "{said}");
    }
    assert!(cloud.upstream.requests().is_empty());
}

#[test]
fn the_first_failure_is_reported_with_a_hint_and_the_next_run_cleans_up() {
    let cloud = Cloud::start();
    ready(&cloud);
    let failing = Script {
        events: vec![
            ("Thing", "CREATE_IN_PROGRESS", ""),
            ("Other", "CREATE_FAILED", "Resource creation cancelled"),
            ("Thing", "CREATE_FAILED", "User: x is not authorized to perform: iam:CreateRole"),
            ("mlflow-networking", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Thing]"),
            ("Thing", "DELETE_COMPLETE", ""),
        ],
        end: "ROLLBACK_COMPLETE",
    };
    cloud.world().scripts.insert("mlflow-networking".into(), failing);
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(1), "{said}");
    let error = said.split("error: ").nth(1).unwrap();
    assert!(
        error.starts_with("mlflow-networking is ROLLBACK_COMPLETE: Thing (AWS::Test::Thing) CREATE_FAILED"),
        "{said}"
    );
    assert!(error.contains("iam:CreateRole") && error.contains("the policy of the identity that deploys"), "{said}");
    cloud.world().scripts.clear();
    let (code, _, said) = apply(&cloud);
    assert!(code == Some(0) && said.contains("left over from a failed creation"), "{said}");
}

#[test]
fn an_interrupted_creation_continues_in_aws_and_is_resumed() {
    let cloud = Cloud::start();
    ready(&cloud);
    let slow = Script { events: vec![("Thing", "CREATE_IN_PROGRESS", ""); 8], end: "CREATE_COMPLETE" };
    cloud.world().scripts.insert("mlflow-networking".into(), slow);
    let mut first = configured(&cloud).args(APPLY).args(CERTIFICATE).stderr(Stdio::null()).spawn().unwrap();
    eventually("it has begun", || cloud.acts().contains(&"ExecuteChangeSet".to_owned()));
    // The signal of Ctrl-C, which the parent of this test may have set to be ignored.
    rustix::process::kill_process(rustix::process::Pid::from_child(&first), rustix::process::Signal::TERM).unwrap();
    assert!(!first.wait().unwrap().success());
    cloud.world().scripts.clear();
    let (code, _, said) = apply(&cloud);
    assert!(
        code == Some(0) && said.contains("mlflow-networking is CREATE_IN_PROGRESS: waiting for that operation first"),
        "{said}"
    );
    assert!(said.contains("mlflow-networking: no changes"), "{said}");
}

#[test]
fn a_failed_deletion_is_reported_and_can_be_retried() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    let reason = "resource subnet-1 has dependencies and cannot be deleted";
    let stuck = Script { events: vec![("Subnet", "DELETE_FAILED", reason)], end: "DELETE_FAILED" };
    cloud.world().scripts.insert("delete mlflow-networking".into(), stuck);
    let arguments = ["destroy", "--yes", "--mode", "tracking", "--shared"];
    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(1) && said.contains("mlflow-networking is DELETE_FAILED: Subnet"), "{said}");
    assert!(said.contains(reason) && said.contains("outside of the stacks"), "{said}");
    cloud.world().scripts.clear();
    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(0) && cloud.world().stacks.is_empty(), "{said}");
}

#[test]
fn a_plan_shows_replacements_leaves_no_change_set_and_waits_for_throttling() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    let mut world = cloud.world();
    world.changes = "<member><Type>Resource</Type><ResourceChange><Action>Modify</Action><LogicalResourceId>Server</LogicalResourceId><ResourceType>AWS::SageMaker::MlflowTrackingServer</ResourceType><Replacement>True</Replacement><Details><member><Target><Attribute>Properties</Attribute><Name>RoleArn</Name><RequiresRecreation>Always</RequiresRecreation></Target></member></Details></ResourceChange></member>".into();
    world.hiccups = vec![("CreateChangeSet", 1, "Throttling"), ("CreateChangeSet", 1, "Throttling")];
    drop(world);
    let (code, _, said) = deploy(&cloud, &["plan", "--mode", "tracking"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("! replace") && said.contains("RoleArn (replaces)"), "{said}");
    let delay = "CreateChangeSet: Throttling: Rate exceeded; retrying CloudFormation in";
    let attempts: Vec<_> = said.split(delay).skip(1).map(|rest| rest.split_once(", ").unwrap().1).collect();
    assert!(attempts[0].starts_with("attempt 2 of 6") && attempts[1].starts_with("attempt 3 of 6"), "{said}");
    assert!(said.contains("mlflow-networking: 1 change\n"), "{said}");
    let shown = at_a_terminal(&cloud, &["plan", "--mode", "tracking"], "");
    assert!(shown.contains("\u{1b}[31m! replace"), "in red: {shown}");
    assert_eq!(cloud.acts().last().map(String::as_str), Some("DeleteChangeSet"), "a plan leaves nothing");
}

#[test]
fn the_replacement_of_a_protected_balancer_gets_a_warning() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().changes = "<member><Type>Resource</Type><ResourceChange><Action>Modify</Action><LogicalResourceId>LoadBalancer</LogicalResourceId><ResourceType>AWS::ElasticLoadBalancingV2::LoadBalancer</ResourceType><Replacement>True</Replacement></ResourceChange></member>".into();
    let warning = "warning: this update replaces LoadBalancer, but deletion protection keeps CloudFormation from deleting the old one";
    let (code, _, said) = deploy(&cloud, &["plan", "--mode", "tracking"]);
    assert_eq!((code, said.matches(warning).count()), (Some(0), 1), "{said}");
    // Only the stack of the appliance has the parameter.
    cloud
        .world()
        .stacks
        .get_mut("mlflow-appliance-tracking")
        .unwrap()
        .parameters
        .insert("DeletionProtection".into(), "false".into());
    let (_, _, said) = deploy(&cloud, &["plan", "--mode", "tracking"]);
    assert!(said.contains("! replace") && !said.contains(warning), "{said}");
}

#[test]
fn a_terminal_gets_questions_and_colours() {
    let cloud = Cloud::start();
    ready(&cloud);
    let shown = at_a_terminal(&cloud, &[&["apply"][..], &CERTIFICATE[..]].concat(), "tracking\ny\ny\nn\n");
    assert!(
        shown.contains("Which managed MLflow") && shown.contains("Apply these changes to mlflow-networking? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("\u{1b}[35m+ add"), "{shown}");
    assert!(shown.contains("stopped: mlflow-appliance-tracking was not confirmed"), "{shown}");
    let made: Vec<String> = cloud
        .world()
        .stacks
        .iter()
        .filter(|(_, one)| one.status == "CREATE_COMPLETE")
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(made, ["mlflow-mlflow-tracking", "mlflow-networking"]);
}

#[test]
fn without_a_terminal_the_answer_is_no_and_nothing_remains() {
    let cloud = Cloud::start();
    ready(&cloud);
    let (code, _, said) = deploy(&cloud, &[&["apply", "--mode", "tracking"][..], &CERTIFICATE[..]].concat());
    assert!(code == Some(1) && said.contains("stopped: mlflow-networking was not confirmed"), "{said}");
    assert_eq!(cloud.acts(), ["CreateChangeSet", "DeleteChangeSet", "DeleteStack"]);
    let (code, _, said) = deploy(&cloud, &["apply"]);
    assert!(code == Some(2) && said.contains("set `--mode tracking`"), "{said}");
}

#[test]
fn a_mode_is_destroyed_and_shared_stacks_stay_while_they_are_needed() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    let serverless = [&["apply", "--yes", "--mode", "serverless"][..], &CERTIFICATE[..]].concat();
    assert_eq!(deploy(&cloud, &serverless).0, Some(0));
    let has = |stack: &str, logical: &str, kind: &str, physical: &str| {
        let resource = (logical.to_owned(), kind.to_owned(), physical.to_owned());
        cloud.world().stacks.get_mut(stack).unwrap().resources.push(resource);
    };
    has("mlflow-mlflow-tracking", "ArtifactBucket", "AWS::S3::Bucket", "mlflow-bucket-1");
    has("mlflow-appliance-tracking", "LoadBalancer", "AWS::ElasticLoadBalancingV2::LoadBalancer", "arn:balancer/1");
    let acts = cloud.acts().len();
    let (code, _, said) = deploy(&cloud, &["destroy", "--yes", "--mode", "tracking", "--shared"]);
    assert!(code == Some(1) && said.contains("mlflow-networking is needed by mlflow-appliance-serverless"), "{said}");
    assert_eq!(cloud.world().stacks.len(), 5);
    let (code, _, said) = deploy(&cloud, &["destroy", "--yes", "--mode", "tracking"]);
    assert!(code == Some(0) && said.contains("AWS::S3::Bucket mlflow-bucket-1"), "{said}");
    // The load balancer protects itself. An update that lifts it would bring a new image to the instances first, or fail
    // where there is none any more.
    assert_eq!(cloud.world().account.unprotected, ["arn:balancer/1"]);
    assert_eq!(cloud.acts()[acts..], ["UpdateTerminationProtection", "DeleteStack"].repeat(2), "{said}");
    let left: Vec<String> = cloud.world().stacks.keys().cloned().collect();
    assert_eq!(left, ["mlflow-appliance-serverless", "mlflow-mlflow-serverless", "mlflow-networking"]);
    assert_eq!(deploy(&cloud, &["destroy", "--yes", "--mode", "serverless", "--shared"]).0, Some(0));
    assert!(cloud.world().stacks.is_empty());
}

#[test]
fn status_reports_the_stacks_and_export_writes_the_templates() {
    let cloud = Cloud::start();
    ready(&cloud);
    let (code, shown, _) = deploy(&cloud, &["status", "--mode", "tracking"]);
    assert!(code == Some(0) && shown.lines().count() == 3 && shown.lines().all(|line| line.ends_with('-')), "{shown}");
    assert_eq!(deploy(&cloud, &["outputs", "--mode", "tracking", "--env"]).0, Some(1));
    assert_eq!(apply(&cloud).0, Some(0));
    let (_, shown, _) = deploy(&cloud, &["outputs", "--mode", "tracking", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(all["mlflow-appliance-tracking"]["Url"], "https://mlflow.corp");
    cloud.world().stacks.get_mut("mlflow-appliance-tracking").unwrap().drifted.push("Balancer");
    let (_, shown, _) = deploy(&cloud, &["status", "--mode", "tracking", "--drift"]);
    assert!(shown.contains("changed by hand: Balancer") && shown.matches("changed by hand").count() == 1, "{shown}");
    let directory = tempfile::tempdir().unwrap();
    let (code, _, said) = deploy(&cloud, &["export", directory.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    for name in ["networking", "sagemaker-domain", "mlflow", "appliance"] {
        let exported = std::fs::read_to_string(directory.path().join(format!("{name}.yaml"))).unwrap();
        let ours = format!("{}/infra/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        // Without comments, so that CloudFormation takes it in a call; it says the same.
        let document = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(document(&exported), document(&std::fs::read_to_string(ours).unwrap()), "{name}");
        assert!(exported.len() <= 51_200 && !exported.lines().any(|line| line.trim_start().starts_with('#')), "{name}");
    }
}
