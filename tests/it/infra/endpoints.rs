//! Endpoints beside others in a network that exists, and what an image's name is by default.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{resources, strings, template};

fn words(part: &Value) -> Vec<String> {
    let mut found = Vec::new();
    strings(part, &mut found);
    found
}

#[test]
fn each_endpoint_can_be_left_out() {
    let networking = template("networking");
    let mut choices = BTreeSet::new();
    for (_, name, value) in resources("AWS::EC2::VPCEndpoint") {
        if value["Properties"]["VpcEndpointType"] != "Interface" {
            continue;
        }
        let condition = words(&networking["Conditions"][value["Condition"].as_str().unwrap()]);
        // Its own parameter, or that of MLflow's two, which has a value for either, both and none.
        let own = format!("Endpoint{}", name.strip_suffix("Endpoint").unwrap());
        let chosen = if networking["Parameters"].get(&own).is_some() { own } else { "MlflowEndpoints".to_owned() };
        assert!(condition.contains(&chosen), "{name}: {condition:?}");
        assert!(chosen == "MlflowEndpoints" || condition.contains(&"yes".to_owned()), "{name}: {condition:?}");
        choices.insert(chosen);
    }
    assert_eq!(choices.len(), 12, "{choices:?}");
    let of_mlflow = words(&networking["Parameters"]["MlflowEndpoints"]["AllowedValues"]);
    assert_eq!(of_mlflow, ["both", "tracking", "serverless", "none"]);
}

#[test]
fn the_minimal_endpoints_include_those_of_all_that_the_appliance_calls_by_default() {
    let networking = template("networking");
    for service in ["Sts", "Ssm", "SecretsManager", "CloudFormation", "Logs"] {
        let condition = words(&networking["Conditions"][format!("{service}Endpoint")]);
        assert!(condition.contains(&"Endpoints".to_owned()), "{service}: {condition:?}");
    }
}

#[test]
fn endpoints_in_an_existing_network_block_no_other_client() {
    for (_, name, value) in resources("AWS::EC2::VPCEndpoint") {
        if let Some(policy) = value["Properties"].get("PolicyDocument") {
            let choice = policy.as_array().unwrap_or_else(|| panic!("{name} restricts everybody"));
            assert!(choice[0] == "NewVpc" && choice[1].is_object() && choice[2] == "AWS::NoValue", "{name}: {policy}");
        }
    }
    let rules = resources("AWS::EC2::SecurityGroupIngress");
    let open = rules.iter().find(|(name, _, value)| *name == "networking" && value["Condition"] == "OldVpc");
    let (_, _, open) = open.expect("a rule for the existing network");
    assert_eq!(open["Properties"]["CidrIp"], "ExistingVpcCidr");
    assert_eq!(open["Properties"]["GroupId"], "EndpointSecurityGroup");
}

/// The names of services in actions that are not the names of endpoints, and the resource of their endpoint.
const NAMED: [(&str, &str); 6] = [
    ("logs", "LogsEndpoint"),
    ("secretsmanager", "SecretsManagerEndpoint"),
    ("ssm", "SsmEndpoint"),
    ("ssmmessages", "SsmMessagesEndpoint"),
    ("sts", "StsEndpoint"),
    ("sagemaker-mlflow", "ExperimentsEndpoint"),
];

#[test]
fn endpoints_let_through_all_that_the_roles_of_the_appliance_allow() {
    let networking = template("networking");
    let mut seen = BTreeSet::new();
    for (stack, prefixes) in [("appliance", ["InstanceRole", "MlflowRole"]), ("fargate", ["TaskRole", "MlflowRole"])] {
        let template = template(stack);
        for (resource, value) in template["Resources"].as_object().unwrap() {
            let is_of_role = words(&value["Properties"]["Roles"]).iter().any(|role| prefixes.contains(&role.as_str()));
            if !(is_of_role || prefixes.contains(&resource.as_str())) {
                continue;
            }
            for action in words(&value["Properties"]).iter().filter(|word| !word.contains(char::is_whitespace)) {
                let Some((service, name)) = action.split_once(':') else { continue };
                let Some((_, endpoint)) = NAMED.iter().find(|(of, _)| *of == service) else { continue };
                let policy = &networking["Resources"][*endpoint]["Properties"]["PolicyDocument"][1];
                let allowed = words(&policy["Statement"]);
                let is_allowed = allowed.iter().any(|one| one == action || *one == format!("{service}:*"));
                // A trust policy names the same actions as the caller's.
                assert!(is_allowed, "{stack}: {resource} may {service}:{name}, and {endpoint} does not let it through");
                seen.insert(action.clone());
            }
        }
    }
    assert!(seen.len() > 12 && seen.contains("secretsmanager:PutSecretValue"), "{seen:?}");
    // Callers may prove an identity of another account.
    let statements = &networking["Resources"]["StsEndpoint"]["Properties"]["PolicyDocument"][1]["Statement"];
    let is_for_all = |one: &&Value| one["Action"] == "sts:GetCallerIdentity" && one.get("Condition").is_none();
    assert_eq!(statements.as_array().unwrap().iter().filter(is_for_all).count(), 1, "{statements}");
}

#[test]
fn objects_in_the_buckets_of_aws_can_be_fetched() {
    let (_, _, endpoint) =
        resources("AWS::EC2::VPCEndpoint").into_iter().find(|(_, name, _)| name == "S3Endpoint").unwrap();
    let statements = endpoint["Properties"]["PolicyDocument"][1]["Statement"].as_array().unwrap().clone();
    let open: Vec<&Value> = statements.iter().filter(|one| one.get("Condition").is_none()).collect();
    assert_eq!(open.len(), 1);
    let buckets = words(&open[0]["Resource"]);
    for part in ["starport-layer-bucket", "al2023-repos-", "cloudformation-waitcondition-"] {
        assert!(buckets.iter().any(|bucket| bucket.contains(part)), "{part}: {buckets:?}");
    }
    assert!(buckets.iter().all(|bucket| bucket.ends_with("/*") && !bucket.contains(":::*")), "{buckets:?}");
}

#[test]
fn the_default_image_has_the_default_architecture_of_the_bake() {
    let parameters = &template("appliance")["Parameters"];
    assert_eq!(parameters["Architecture"]["Default"], "x86_64");
    assert_eq!(parameters["AmiParameter"]["Default"], "/mlflow-appliance/ami/x86_64");
    // A parameter that another account shares is named by its ARN.
    let pattern = parameters["AmiParameter"]["AllowedPattern"].as_str().unwrap();
    assert!(pattern.starts_with("^(arn:aws[a-z-]*:ssm:") && pattern.contains(":parameter)?/"), "{pattern}");
}
