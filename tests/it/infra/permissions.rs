//! The permissions of the roles of the stacks, their boundaries, and the permissions of the deployer outside of CloudFormation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{NAMES, resources, strings, template, text};

fn policy() -> Vec<Value> {
    let statements = |name: &str| {
        let text = std::fs::read_to_string(format!("{}/infra/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let policy: Value = serde_json::from_str(&text).unwrap();
        policy["Statement"].as_array().unwrap().clone()
    };
    [statements("deployer-policy"), statements("deployer-policy-fargate")].concat()
}

fn all(part: &Value) -> Vec<String> {
    let mut found = Vec::new();
    strings(part, &mut found);
    found
}

/// The policy of this name, which has to be one of the instances.
fn of_instances(resource: &str) -> Value {
    let found =
        resources("AWS::IAM::Policy").into_iter().find(|(file, name, _)| *file == "appliance" && name == resource);
    let (_, _, value) = found.unwrap_or_else(|| panic!("no {resource}"));
    assert_eq!(all(&value["Properties"]["Roles"]), ["InstanceRole"], "{resource}");
    value
}

#[test]
fn every_role_can_have_a_boundary() {
    let roles = resources("AWS::IAM::Role");
    for (name, role, value) in &roles {
        let boundary = all(&value["Properties"]["PermissionsBoundary"]);
        assert_eq!(boundary, ["Boundary", "PermissionsBoundaryArn", "AWS::NoValue"], "{name}: {role}");
    }
    let parameters: BTreeSet<String> =
        roles.iter().map(|(name, ..)| template(name)["Parameters"]["PermissionsBoundaryArn"].to_string()).collect();
    assert_eq!(parameters.len(), 1, "one `--parameter` is for all of them: {parameters:?}");
    for action in ["iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"] {
        assert!(policy().iter().any(|one| all(&one["Action"]).iter().any(|allowed| allowed == action)), "{action}");
    }
}

#[test]
fn sagemaker_can_assume_its_roles() {
    let mut seen = 0;
    for (name, role, value) in resources("AWS::IAM::Role") {
        for statement in value["Properties"]["AssumeRolePolicyDocument"]["Statement"].as_array().unwrap() {
            if statement["Principal"]["Service"] == "sagemaker.amazonaws.com" {
                // AWS documents no condition, and one that the service does not meet fails every creation.
                assert!(statement.get("Condition").is_none(), "{name}: {role}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn only_cloudformation_has_permissions_on_all_resources() {
    let reads = |action: &String| {
        let (_, verb) = action.split_once(':').unwrap();
        ["Describe", "Get", "List", "Simulate", "Validate"].iter().any(|beginning| verb.starts_with(beginning))
    };
    let mut guarded = 0;
    for statement in policy() {
        if statement["Resource"] != "*" || all(&statement["Action"]).iter().all(reads) {
            continue;
        }
        let via = &statement["Condition"]["ForAnyValue:StringEquals"]["aws:CalledVia"];
        assert_eq!(via, "cloudformation.amazonaws.com", "{}", statement["Sid"]);
        guarded += 1;
    }
    assert!(guarded > 3, "{guarded}");
}

#[test]
fn the_deployers_policy_can_resolve_the_references_of_the_templates() {
    let references: Vec<&str> =
        NAMES.into_iter().filter(|name| text(name).contains("{{resolve:secretsmanager:")).collect();
    assert_eq!(references, ["appliance", "fargate"], "the client's secret");
    // CloudFormation reads it with the permissions of the deployer.
    let allowed = policy().into_iter().any(|one| {
        all(&one["Action"]).iter().any(|action| action == "secretsmanager:GetSecretValue")
            && all(&one["Resource"]).iter().any(|resource| resource.ends_with(":secret:mlflow-oidc-*"))
    });
    assert!(allowed, "{:?}", policy());
    let about = template("appliance")["Parameters"]["OidcClientSecretArn"]["Description"].to_string();
    assert!(about.contains("<prefix>-oidc-"), "{about}");
}

#[test]
fn the_provider_is_asked_for_the_scope_that_was_chosen() {
    let mut scopes = Vec::new();
    super::below(&template("appliance")["Resources"], "", &mut |_, key, value| {
        if key == "AuthenticateOidcConfig" {
            scopes.push(value["Scope"].clone());
        }
    });
    assert_eq!(scopes, ["OidcScope", "OidcScope"]);
}

#[test]
fn instances_may_use_keys_and_a_log_group_that_are_named() {
    let keys = of_instances("KeyPolicy");
    assert_eq!(keys["Condition"], "OwnKeys");
    let statement = &keys["Properties"]["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Action"], "kms:Decrypt");
    assert!(all(&statement["Resource"]).contains(&"InstanceKmsKeyArns".to_owned()), "{statement}");
    // Session Manager needs these on the instance to record a session in CloudWatch Logs.
    let logs = of_instances("LogPolicy");
    assert_eq!(logs["Condition"], "Recordings");
    let allowed = all(&logs["Properties"]["PolicyDocument"]);
    for action in ["CreateLogStream", "PutLogEvents", "DescribeLogGroups", "DescribeLogStreams"] {
        assert!(allowed.contains(&format!("logs:{action}")), "{action}: {allowed:?}");
    }
}

#[test]
fn instances_may_only_add_to_the_log_group_of_their_stack_which_outlives_it() {
    let (_, _, group) = resources("AWS::Logs::LogGroup").into_iter().find(|(name, ..)| *name == "appliance").unwrap();
    assert_eq!((&group["Condition"], &group["DeletionPolicy"]), (&"Logs".into(), &"RetainExceptOnCreate".into()));
    assert_eq!(group["UpdateReplacePolicy"], "Retain");
    // `InstancePolicy` and not a policy of its own: the instances start after it and stop before it goes.
    let policy = of_instances("InstancePolicy");
    let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap();
    let [choice] = &statements.iter().filter(|one| one[0] == "Logs").collect::<Vec<_>>()[..] else {
        panic!("{statements:?}")
    };
    assert_eq!(all(&choice[1]["Action"]), ["logs:CreateLogStream", "logs:PutLogEvents"]);
    assert_eq!((&choice[1]["Resource"], &choice[2]), (&"LogGroup.Arn".into(), &"AWS::NoValue".into()));
    let defaults = template("appliance")["Parameters"]["LogRetentionDays"].clone();
    assert!(defaults["Default"] == 90 && defaults["AllowedValues"].as_array().unwrap().contains(&0.into()));
}

#[test]
fn studio_may_use_the_mlflows_that_it_is_given() {
    let (_, _, value) =
        resources("AWS::IAM::Policy").into_iter().find(|(name, ..)| *name == "sagemaker-domain").expect("a policy");
    assert_eq!(all(&value["Properties"]["Roles"]), ["ExecutionRole"]);
    let statement = &value["Properties"]["PolicyDocument"]["Statement"][0];
    assert!(all(&statement["Resource"]).contains(&"StudioMlflowArns".to_owned()), "{statement}");
    let allowed = all(&statement["Action"]);
    for action in ["sagemaker-mlflow:*", "sagemaker:CallMlflowAppApi", "sagemaker:CreatePresignedMlflowAppUrl"] {
        assert!(allowed.contains(&action.to_owned()), "{allowed:?}");
    }
}
