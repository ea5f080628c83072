//! Properties of every template. cfn-lint and checkov check the rest (`tests/system/templates`).

mod accepted;
mod balancer;
mod endpoints;
mod fargate;
mod kubernetes;
mod permissions;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const NAMES: [&str; 5] = ["networking", "sagemaker-domain", "mlflow", "appliance", "fargate"];

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/infra/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A template without its tags: `!Ref X` is `X`, `!If [A, b, c]` a list.
fn template(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap()
}

/// Resources of a type, in all templates: template, name and properties.
fn resources(of: &str) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    for name in NAMES {
        for (resource, value) in template(name)["Resources"].as_object().unwrap() {
            if value["Type"] == of {
                found.push((name, resource.clone(), value.clone()));
            }
        }
    }
    assert!(!found.is_empty(), "no {of}");
    found
}

/// Every value below a key, at any depth, with the path to it.
fn below(value: &Value, path: &str, visit: &mut dyn FnMut(&str, &str, &Value)) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                visit(path, key, inner);
                below(inner, &format!("{path}.{key}"), visit);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| below(inner, path, visit)),
        _ => {}
    }
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|inner| strings(inner, found)),
        Value::Object(map) => map.values().for_each(|inner| strings(inner, found)),
        _ => {}
    }
}

/// The statements of all policies in a template.
fn statements(name: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    below(&template(name)["Resources"], "", &mut |path, key, value| {
        if key == "Statement" {
            let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            let flat = list.into_iter().flat_map(|one| match one {
                Value::Array(inner) => inner,
                one => vec![one],
            });
            found.extend(flat.filter(Value::is_object).map(|one| (path.to_owned(), one)));
        }
    });
    found
}

#[test]
fn parameters_are_explained() {
    for name in NAMES {
        let template = template(name);
        for (parameter, value) in template["Parameters"].as_object().unwrap() {
            assert!(value["Description"].as_str().is_some_and(|text| text.len() > 10), "{name}: {parameter}");
            let is_constrained = value.get("AllowedPattern").is_some() || value.get("MinValue").is_some();
            assert!(!is_constrained || value.get("ConstraintDescription").is_some(), "{name}: {parameter}");
        }
        for (output, value) in template["Outputs"].as_object().unwrap() {
            assert!(value["Description"].is_string() && value.get("Export").is_none(), "{name}: {output}");
        }
    }
}

#[test]
fn later_stacks_find_the_outputs_of_earlier_ones() {
    // Each kind of compute has a stack of its own behind the others. Only an operator knows where the image of the tasks is.
    for compute in ["appliance", "fargate"] {
        let mut given: BTreeSet<String> = BTreeSet::from(["Mode", "ContainerImage"].map(ToOwned::to_owned));
        for name in NAMES[..3].iter().chain([&compute]) {
            let template = template(name);
            for (parameter, value) in template["Parameters"].as_object().unwrap() {
                let has_value = value.get("Default").is_some() || given.contains(parameter);
                assert!(has_value, "{name}: {parameter} has no value");
            }
            for output in template["Outputs"].as_object().unwrap().keys() {
                assert!(given.insert(output.clone()), "two stacks have the output {output}");
            }
        }
    }
}

#[test]
fn only_the_balancer_reaches_the_instances_and_their_secrets_stay() {
    for (name, resource, value) in resources("AWS::EC2::LaunchTemplate") {
        let data = &value["Properties"]["LaunchTemplateData"];
        assert_eq!(data["MetadataOptions"]["HttpTokens"], "required", "{name}: {resource}");
        assert_eq!(data["MetadataOptions"]["HttpPutResponseHopLimit"], 1);
        assert!(data.get("KeyName").is_none());
        let disks = data["BlockDeviceMappings"].as_array().unwrap();
        assert!(!disks.is_empty() && disks.iter().all(|disk| disk["Ebs"]["Encrypted"] == true), "{disks:?}");
        let mut public = Vec::new();
        below(data, "", &mut |_, key, inner| {
            if key == "AssociatePublicIpAddress" {
                public.push(inner.clone());
            }
        });
        assert!(public.iter().all(|one| *one == Value::Bool(false)), "{public:?}");
        // User data is data, and no program.
        let mut told = Vec::new();
        strings(&data["UserData"], &mut told);
        let told = told.join("\n");
        assert!(told.contains("resource-arn = ") && told.contains("[bootstrap]"), "{told}");
        assert!(!told.contains("#!") && !told.contains("#cloud-config"), "{told}");
    }
}

#[test]
fn buckets_are_private_encrypted_and_outlive_their_stack() {
    for (name, resource, value) in resources("AWS::S3::Bucket") {
        let what = format!("{name}: {resource}");
        let properties = &value["Properties"];
        let block = properties["PublicAccessBlockConfiguration"].as_object().expect(&what);
        assert!(block.len() == 4 && block.values().all(|one| *one == true), "{what}");
        assert!(properties.get("BucketEncryption").is_some(), "{what}");
        assert!(value["DeletionPolicy"].as_str().is_some_and(|policy| policy.starts_with("Retain")), "{what}");
        let policies = resources("AWS::S3::BucketPolicy");
        let policy =
            policies.iter().find(|(file, _, policy)| *file == name && policy["Properties"]["Bucket"] == *resource);
        let (_, _, policy) = policy.unwrap_or_else(|| panic!("{what} has no policy"));
        let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap();
        let refuses_plain = |one: &Value| {
            let condition = &one["Condition"]["Bool"]["aws:SecureTransport"];
            one["Effect"] == "Deny" && (condition == "false" || condition == false)
        };
        assert!(statements.iter().any(refuses_plain), "{what} can be read without TLS");
    }
}

#[test]
fn no_listener_is_open_to_the_internet_by_default() {
    let mut seen = 0;
    for name in NAMES {
        for (resource, value) in template(name)["Resources"].as_object().unwrap() {
            below(&value["Properties"], "", &mut |path, key, inner| {
                let is_world = ["0.0.0.0/0", "::/0"].iter().any(|world| inner.as_str() == Some(world));
                if !(is_world && key.starts_with("Cidr")) {
                    return;
                }
                seen += 1;
                let is_outbound = path.contains("Egress") || value["Type"] == "AWS::EC2::SecurityGroupEgress";
                let condition = value["Condition"].as_str().unwrap_or_default();
                assert!(is_outbound || condition.contains("World"), "{name}: {resource}{path}.{key}");
            });
        }
    }
    assert!(seen > 0, "nothing may leave, not even to AWS");
    let appliance = template("appliance");
    assert_eq!(appliance["Parameters"]["OpenToWorld"]["Default"], "no");
    assert_eq!(appliance["Parameters"]["Scheme"]["Default"], "internal");
}

#[test]
fn permissions_name_actions_and_resources() {
    // MLflow itself defines the actions on one MLflow.
    const WHOLE: [&str; 1] = ["sagemaker-mlflow:*"];
    let mut seen = 0;
    for name in NAMES {
        for (path, statement) in statements(name) {
            if statement["Effect"] != "Allow" {
                continue;
            }
            let is_endpoint = path.contains("Endpoint");
            let (mut actions, mut principals) = (Vec::new(), Vec::new());
            strings(&statement["Action"], &mut actions);
            strings(&statement["Principal"], &mut principals);
            assert!(statement.get("NotAction").is_none() && statement.get("NotPrincipal").is_none(), "{name}{path}");
            for action in actions.iter().filter(|action| action.contains(':')) {
                let is_wild = action.ends_with(":*") && !WHOLE.contains(&action.as_str());
                // A key's policy speaks of the key alone; an endpoint's grants nothing, it only takes away.
                assert!(!is_wild || path.contains("KeyPolicy") || is_endpoint, "{name}{path}: {action}");
                seen += 1;
            }
            assert!(is_endpoint || principals.iter().all(|one| one != "*"), "{name}{path}: anybody");
        }
    }
    assert!(seen > 30, "{seen}");
}

/// Operations of CloudFormation that name no stack, so that IAM wants them allowed for everything.
const OF_NO_STACK: [&str; 1] = ["DescribeStackDriftDetectionStatus"];

#[test]
fn the_deployers_policy_allows_the_calls_of_the_program() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let policy: Value = serde_json::from_str(&read("infra/deployer-policy.json")).unwrap();
    let allowed = |action: &str, resource: &str| {
        policy["Statement"].as_array().unwrap().iter().any(|statement| {
            let (mut actions, mut resources) = (Vec::new(), Vec::new());
            strings(&statement["Action"], &mut actions);
            strings(&statement["Resource"], &mut resources);
            let matches = |pattern: &String| match pattern.strip_suffix('*') {
                Some(beginning) => action.starts_with(beginning),
                None => pattern == action,
            };
            actions.iter().any(matches) && resources.iter().any(|one| one == "*" || one.contains(resource))
        })
    };
    let source = read("src/api/cloudformation/mod.rs");
    let calls = ["call(\"", "ask(\"", "page(\""].iter().flat_map(|call| source.split(call).skip(1));
    let operations: BTreeSet<&str> = calls.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(operations.len() > 10 && operations.contains("ExecuteChangeSet"), "{operations:?}");
    for operation in operations {
        let resource = if OF_NO_STACK.contains(&operation) { "everything" } else { ":stack/mlflow-*" };
        assert!(allowed(&format!("cloudformation:{operation}"), resource), "{operation} on {resource}");
    }
    assert!(read("src/api/parameters.rs").contains("\"GetParameters\"") && allowed("ssm:GetParameters", "everything"));
    assert!(!allowed("cloudformation:CreateChangeSet", "everything"));
}

#[test]
fn the_balancer_is_protected_and_its_health_check_has_the_path_of_the_appliance() {
    let (_, _, balancer) = &resources("AWS::ElasticLoadBalancingV2::LoadBalancer")[0];
    let attributes: BTreeMap<&str, &Value> = balancer["Properties"]["LoadBalancerAttributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["Key"].as_str().unwrap(), &one["Value"]))
        .collect();
    assert_eq!(*attributes["routing.http.drop_invalid_header_fields.enabled"], "true");
    // `strictest` would refuse GET with `Content-Length: 0`, which Java's clients send.
    assert_eq!(*attributes["routing.http.desync_mitigation_mode"], "defensive");
    assert_eq!(*attributes["deletion_protection.enabled"], "DeletionProtection");
    assert_eq!(template("appliance")["Parameters"]["DeletionProtection"]["Default"], "true");
    for (name, _, group) in resources("AWS::ElasticLoadBalancingV2::TargetGroup") {
        // An instance signals that it is ready; of a task, only its health check can say so.
        let page = if name == "fargate" { "/_appliance/readyz" } else { "/_appliance/healthz" };
        assert_eq!(group["Properties"]["HealthCheckPath"], page);
        assert_eq!(group["Properties"]["Port"], 5000);
    }
}

#[test]
fn only_the_subnets_of_the_balancer_are_trusted_proxies() {
    let appliance = template("appliance");
    let mut told = Vec::new();
    strings(&appliance["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"], &mut told);
    assert!(told.iter().any(|text| text.contains("trusted-proxies = \"${Balancer}\"")), "{told:?}");
    assert!(!told.iter().any(|text| text.contains("VpcCidr") || text.contains("trusted-hops")), "{told:?}");
    let data = &appliance["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"];
    let believed = &data["Fn::Base64"]["Fn::Sub"][1]["Balancer"];
    let balancer = &appliance["Resources"]["LoadBalancer"]["Properties"]["Subnets"];
    let (mut believed_of, mut subnets) = (Vec::new(), Vec::new());
    strings(believed, &mut believed_of);
    strings(balancer, &mut subnets);
    let networks_of: Vec<String> = subnets.iter().map(|name| name.replace("SubnetIds", "SubnetCidrs")).collect();
    assert_eq!(believed_of, networks_of, "the same choice by scheme");

    let networking = template("networking");
    for kind in ["Public", "Private"] {
        let blocks = (1..=3).map(|zone| {
            let block = &networking["Resources"][format!("{kind}Subnet{zone}")]["Properties"]["CidrBlock"];
            block.as_str().unwrap().to_owned()
        });
        let blocks: Vec<String> = blocks.collect();
        let mut given = Vec::new();
        strings(&networking["Outputs"][format!("{kind}SubnetCidrs")]["Value"], &mut given);
        for count in [2, 3] {
            assert!(given.contains(&blocks[..count].join(",")), "{kind}: {given:?}");
        }
    }
}

#[test]
fn no_resource_depends_on_itself() {
    for name in NAMES {
        let template = template(name);
        let resources = template["Resources"].as_object().unwrap();
        let needs: BTreeMap<&str, BTreeSet<&str>> = resources
            .iter()
            .map(|(resource, value)| {
                let mut words = Vec::new();
                strings(&value["Properties"], &mut words);
                strings(&value["DependsOn"], &mut words);
                let names = |other: &&String| {
                    words.iter().any(|word| {
                        word == *other
                            || word.starts_with(&format!("{other}."))
                            || word.contains(&format!("${{{other}}}"))
                            || word.contains(&format!("${{{other}."))
                    })
                };
                let needed = resources.keys().filter(|other| *other != resource).filter(names).map(String::as_str);
                (resource.as_str(), needed.collect())
            })
            .collect();
        // Resources whose dependencies exist can be created; in the end all of them.
        let mut left: BTreeSet<&str> = needs.keys().copied().collect();
        while !left.is_empty() {
            let ready: Vec<&str> =
                left.iter().copied().filter(|one| needs[one].iter().all(|other| !left.contains(other))).collect();
            assert!(!ready.is_empty(), "{name}: a cycle among {left:?}");
            left.retain(|one| !ready.contains(one));
        }
    }
}
