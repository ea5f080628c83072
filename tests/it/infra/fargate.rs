//! The template for Fargate: the parts that it shares with the template for instances, its tasks, and their environment.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{strings, template, text};
use crate::support::appliance::{Builder, TRACKING_ARN, command};

/// The parts of both templates that have to differ.
const DIFFERENT: [&str; 16] = [
    // Tasks cannot do without it, because they have no journal.
    "Outputs.LogGroupName",
    "Parameters.LogKmsKeyArn.Description",
    "Parameters.LogRetentionDays",
    "Resources.LogGroup",
    // Both have a processor, but other things that have to fit it.
    "Parameters.Architecture.Description",
    "Parameters.TaskKmsKeyArns.Description",
    "Resources.TaskRole.Properties.AssumeRolePolicyDocument",
    "Resources.TaskPolicy.Properties.PolicyDocument",
    "Resources.TargetGroup.Properties.HealthCheckPath",
    "Resources.TargetGroup.Properties.TargetType",
    "Resources.AnswersFailAlarm.Properties.AlarmDescription",
    "Resources.BusyAlarm.Properties",
    "Resources.CpuScaling",
    "Resources.Dashboard.Properties.DashboardBody",
    "Metadata",
    "Description",
];

/// A template as the other one would say it.
fn in_words_of_tasks(text: &str) -> String {
    let names = [("InstanceSecurityGroup", "TaskSecurityGroup"), ("InstanceRole", "TaskRole")];
    let words = [("An instance", "A task"), ("an instance", "a task"), ("Instance", "Task"), ("instance", "task")];
    names.into_iter().chain(words).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Compares what is in both maps, at any depth, but for the parts that have to differ. Returns the number of compared values.
fn compare(one: &Value, other: &Value, path: &str) -> usize {
    if DIFFERENT.contains(&path) {
        return 0;
    }
    // A resource, a parameter or an output that only one template has is its own affair, but not a part of one.
    let is_section = path.is_empty() || !path.contains('.');
    let (Some(left), Some(right)) = (one.as_object(), other.as_object()) else {
        assert_eq!(one, other, "{path}");
        return 1;
    };
    if !is_section {
        let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(left), keys(right), "{path}");
    }
    let both = left.iter().filter_map(|(key, value)| Some((key, value, right.get(key)?)));
    both.map(|(key, value, of)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(value, of, &path)
    })
    .sum()
}

#[test]
fn both_kinds_of_compute_have_the_same_load_balancer_roles_and_alarms() {
    let instances: Value = serde_saphyr::from_str(&in_words_of_tasks(&text("appliance"))).unwrap();
    let tasks = template("fargate");
    let compared = compare(&instances, &tasks, "");
    assert!(compared > 400, "{compared}");
    // These are all that a load balancer consists of.
    let of = |template: &Value| -> BTreeSet<String> {
        let resources = template["Resources"].as_object().unwrap();
        let parts = ["ElasticLoadBalancingV2", "WAFv2", "SecurityGroup", "SecretsManager", "S3", "SNS", "CloudWatch"];
        let is_part = |value: &Value| parts.iter().any(|part| value["Type"].as_str().unwrap().contains(part));
        resources.iter().filter(|(_, value)| is_part(value)).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(of(&instances), of(&tasks));
    // User data and the variable have the same options.
    let substituted = |data: &Value| data["Fn::Sub"].clone();
    let data = &instances["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"];
    let (ours, theirs) = (substituted(&environment()["APPLIANCE_CONFIG_TEXT"]), substituted(data));
    // Instances send their log themselves, and need no group for it; of a task, ECS sends the log.
    let audit = "cloudwatch-log-group = \"${LogGroup}\"\ncloudwatch-log-content = \"audit\"\n";
    let mut values = theirs[1].clone();
    assert!(values.as_object_mut().unwrap().remove("Logs").is_some());
    assert_eq!(ours[1], values);
    let before_bootstrap = theirs[0].as_str().unwrap().split("[bootstrap]").next().unwrap().replace("${Logs}", "");
    assert!(ours[0].as_str().unwrap().contains(audit), "{ours}");
    assert_eq!(ours[0].as_str().unwrap().replace(audit, ""), before_bootstrap);
}

fn task_definition() -> Value {
    template("fargate")["Resources"]["TaskDefinition"]["Properties"].clone()
}

fn container() -> Value {
    let containers = task_definition()["ContainerDefinitions"].clone();
    assert_eq!(containers.as_array().unwrap().len(), 1);
    containers[0].clone()
}

/// The variables of the container, which are not evaluated yet.
fn environment() -> BTreeMap<String, Value> {
    let container = container();
    let variables = container["Environment"].as_array().unwrap();
    variables.iter().map(|one| (one["Name"].as_str().unwrap().to_owned(), one["Value"].clone())).collect()
}

#[test]
fn tasks_have_no_privileges_and_write_only_to_their_volume() {
    let (task, container) = (task_definition(), container());
    assert_eq!(container["User"], "65534:65534");
    assert_eq!(container["ReadonlyRootFilesystem"], true);
    assert_eq!(container["LinuxParameters"]["Capabilities"]["Drop"], serde_json::json!(["ALL"]));
    assert_eq!(container["MountPoints"][0]["ContainerPath"], "/var/tmp");
    assert_eq!(container["MountPoints"][0]["SourceVolume"], task["Volumes"][0]["Name"]);
    assert!(container.get("Secrets").is_none() && container.get("Privileged").is_none(), "{container}");
    assert_eq!(task["RequiresCompatibilities"], serde_json::json!(["FARGATE"]));
    // Bodies of 10 GiB have to fit.
    let disk = &template("fargate")["Parameters"]["EphemeralStorage"];
    assert!(disk["MinValue"].as_u64() >= Some(21) && disk["MaxValue"] == 200, "{disk}");
    // 120 seconds are all that Fargate offers; an appliance drains for 30.
    assert!(container["StopTimeout"] == 120, "{container}");
    assert_eq!(container["LogConfiguration"]["Options"]["mode"], "non-blocking", "the log must not stop the appliance");
    let service = template("fargate")["Resources"]["Service"]["Properties"].clone();
    assert_eq!(service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"], "DISABLED");
    let deployment = &service["DeploymentConfiguration"];
    assert_eq!(deployment["DeploymentCircuitBreaker"], serde_json::json!({"Enable": true, "Rollback": true}));
    assert!(deployment["MinimumHealthyPercent"] == 100 && deployment["MaximumPercent"] == 200, "{deployment}");
    assert!(service.get("DesiredCount").is_none(), "an update would undo what the scaling policy has decided");
}

#[test]
fn the_image_and_its_health_check_agree_with_the_task_definition() {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = std::fs::read_to_string(format!("{root}/packer/container/Containerfile")).unwrap();
    let mut check = Vec::new();
    strings(&container()["HealthCheck"]["Command"], &mut check);
    assert_eq!(check, ["CMD", "/usr/bin/appliance", "healthcheck"]);
    // Fargate ignores the image's own.
    assert!(file.contains(r#"CMD ["/usr/bin/appliance", "healthcheck"]"#), "{file}");
    // Without `VOLUME` and `USER` in the image, an empty volume belongs to root.
    assert!(file.contains("\nVOLUME /var/tmp\n") && file.contains("\nUSER 65534:65534\n"), "{file}");
    let nix = std::fs::read_to_string(format!("{root}/nixos/container.nix")).unwrap();
    assert!(nix.contains("usr/bin/appliance") && nix.contains(r#"Volumes."/var/tmp""#), "{nix}");
}

#[test]
fn every_size_of_a_task_is_one_that_fargate_offers() {
    // Processor units, and MiB of memory: from, to, in steps of.
    let offers = [
        (256, 512, 2048, 512),
        (512, 1024, 4096, 1024),
        (1024, 2048, 8192, 1024),
        (2048, 4096, 16384, 1024),
        (4096, 8192, 30720, 1024),
    ];
    let parameter = template("fargate")["Parameters"]["TaskSize"].clone();
    let mut sizes = Vec::new();
    strings(&parameter["AllowedValues"], &mut sizes);
    assert!(sizes.len() > 5 && sizes.contains(&parameter["Default"].as_str().unwrap().to_owned()), "{sizes:?}");
    for size in sizes {
        let (units, memory) = size.split_once('/').unwrap();
        let (units, memory): (u32, u32) = (units.parse().unwrap(), memory.parse().unwrap());
        let offer = offers.iter().find(|(of, ..)| *of == units).unwrap_or_else(|| panic!("{size}"));
        assert!((offer.1..=offer.2).contains(&memory) && memory % offer.3 == 0, "{size}");
    }
}

#[test]
fn ecs_may_pull_the_image_and_write_the_log_and_nothing_else() {
    let resources = template("fargate")["Resources"].clone();
    let mut allowed = BTreeSet::new();
    for (name, value) in resources.as_object().unwrap() {
        let mut roles = Vec::new();
        strings(&value["Properties"]["Roles"], &mut roles);
        if roles.contains(&"ExecutionRole".to_owned()) {
            for statement in value["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap() {
                let mut actions = Vec::new();
                strings(&statement["Action"], &mut actions);
                let is_open = statement["Resource"] == "*";
                assert!(!is_open || actions == ["ecr:GetAuthorizationToken"], "{name}: {statement}");
                allowed.extend(actions);
            }
        }
    }
    let wanted = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ];
    assert_eq!(allowed, BTreeSet::from(wanted.map(ToOwned::to_owned)));
    // Only ECS can assume the roles, and the appliance's role only in this account. AWS documents no condition for the other role.
    for (role, has_condition) in [("TaskRole", true), ("ExecutionRole", false)] {
        let trust = &resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0];
        assert_eq!(trust["Principal"]["Service"], "ecs-tasks.amazonaws.com", "{role}");
        let account = &trust["Condition"]["StringEquals"]["aws:SourceAccount"];
        assert_eq!(account == "AWS::AccountId", has_condition, "{role}: {trust}");
    }
}

/// Evaluates a value of the template, in which `!Ref X` is `X` and `!If [A, b, c]` a list.
fn evaluated(value: &Value, known: &BTreeMap<&str, String>, holds: &[&str]) -> String {
    match value {
        Value::Array(choice) => {
            let is_met = holds.contains(&choice[0].as_str().unwrap());
            evaluated(&choice[if is_met { 1 } else { 2 }], known, holds)
        }
        Value::Object(_) => {
            let (text, more) = (value["Fn::Sub"][0].as_str().unwrap(), value["Fn::Sub"][1].as_object().unwrap());
            let inner: Vec<(String, String)> =
                more.iter().map(|(name, value)| (name.clone(), evaluated(value, known, holds))).collect();
            let text =
                inner.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
            substituted(text, known)
        }
        other => {
            let text = other.as_str().unwrap();
            known.get(text).cloned().unwrap_or_else(|| substituted(text.to_owned(), known))
        }
    }
}

fn substituted(text: String, known: &BTreeMap<&str, String>) -> String {
    known.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// The text that a task gets, with everything that a template can say, or with as little as possible.
fn rendered(is_full: bool) -> String {
    let secret = |name: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf");
    let more = "[[issuer]]\nname = \"gha\"\nurl = \"https://token.actions.githubusercontent.com\"\naudience = \"mlflow\"\n\n\
                [[caller]]\nissuer = \"gha\"\nclaim = [\"repository=corp/models\"]\nrole = \"write\"\n";
    let known = BTreeMap::from([
        ("ResourceArn", TRACKING_ARN.to_owned()),
        ("MlflowRole.Arn", "arn:aws:iam::123456789012:role/mlflow".to_owned()),
        ("TokenSecret", secret("TokenSecret")),
        ("SessionKey", secret("SessionKey")),
        ("LogGroup", "mlflow-tasks".to_owned()),
        ("PersonalTokenSecret", secret("PersonalTokenSecret")),
        ("PrivateSubnetCidrs", "10.42.32.0/20,10.42.64.0/20".to_owned()),
        ("ArtifactStoreUri", "s3://bucket/mlflow".to_owned()),
        (
            "LoadBalancer",
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/a/1234567890123456".to_owned(),
        ),
        ("OidcIssuer", "https://idp.example.com".to_owned()),
        ("OidcClientId", "appliance".to_owned()),
        ("OidcAdminClaim", "groups=admins".to_owned()),
        ("OidcWriteClaim", "groups=writers".to_owned()),
        ("OidcRole", "read".to_owned()),
        ("ServeConfiguration", if is_full { more.to_owned() } else { String::new() }),
    ]);
    let full = ["NewTokenSecret", "Store", "Personal", "Oidc", "OidcAdmins", "OidcWriters", "OidcForAll"];
    let text = evaluated(&environment()["APPLIANCE_CONFIG_TEXT"], &known, if is_full { &full } else { &full[..1] });
    assert!(!text.contains("${") && text.contains(TRACKING_ARN), "{text}");
    text
}

#[test]
fn the_program_starts_with_exactly_the_environment_of_a_task() {
    assert_eq!(environment().keys().collect::<Vec<_>>(), ["APPLIANCE_CONFIG_TEXT"]);
    for is_full in [false, true] {
        let text = rendered(is_full);
        let check = |text: &str| {
            let mut command = command(&["check", "--offline"]);
            command.env("APPLIANCE_CONFIG_TEXT", text).env("APPLIANCE_LISTEN", "127.0.0.1:0").output().unwrap()
        };
        let output = check(&text);
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{said}");
        let output = check(&format!("no-such-setting = 1\n{text}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && said.contains("APPLIANCE_CONFIG_TEXT:1: "), "{said}");

        // The appliance is alive, although no service of AWS answers; and it rejects requests without a token.
        let appliance = Builder::anywhere()
            .env("APPLIANCE_CONFIG_TEXT", &text)
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            .without_waiting()
            .start();
        assert_eq!(appliance.get("/_appliance/healthz").status, 200);
        assert_eq!(appliance.get("/_appliance/readyz").status, 503);
        assert_ne!(appliance.get("/api/2.0/mlflow/experiments/search").status, 200);
        let health = Command::new(crate::support::appliance::instance_binary())
            .arg("healthcheck")
            .env_clear()
            .env("APPLIANCE_CONFIG_TEXT", &text)
            .env("APPLIANCE_LISTEN", appliance.address().to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    }
}
