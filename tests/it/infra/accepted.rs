//! Texts that AWS's APIs reject although the schemas of CloudFormation accept them, so that no linter finds them.

use super::{below, resources, strings, template};

/// EC2: "Valid descriptions are strings less than 256 characters from the following set".
fn is_description_of_ec2(text: &str) -> bool {
    let is_valid = |one: char| one.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(one);
    !text.is_empty() && text.len() < 256 && text.chars().all(is_valid)
}

#[test]
fn ec2_accepts_the_descriptions_of_security_groups_and_their_rules() {
    assert!(!is_description_of_ec2("the clients' group") && is_description_of_ec2("HTTPS to AWS, and back"));
    let mut seen = 0;
    for kind in ["SecurityGroup", "SecurityGroupIngress", "SecurityGroupEgress"] {
        for (name, resource, value) in resources(&format!("AWS::EC2::{kind}")) {
            below(&value["Properties"], "", &mut |_, key, inner| {
                if matches!(key, "Description" | "GroupDescription") {
                    let text = inner.as_str().unwrap();
                    assert!(is_description_of_ec2(text), "{name}: {resource}: {text}");
                    seen += 1;
                }
            });
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn iam_accepts_the_descriptions_of_roles() {
    for (name, role, value) in resources("AWS::IAM::Role") {
        let description = value["Properties"]["Description"].as_str().unwrap();
        let is_valid = |one: char| matches!(one, ' '..='~');
        assert!(description.len() <= 500 && description.chars().all(is_valid), "{name}: {role}: {description}");
    }
}

#[test]
fn user_data_and_the_variable_of_a_task_fit_with_the_longest_configuration() {
    // EC2 takes 16 KiB before base64. ECS takes 64 KiB for a whole task definition.
    const LIMIT: usize = 16 * 1024;
    // CloudFormation's own limit of a parameter, for the three that have no shorter one.
    const LONGEST: usize = 4096;
    for (name, resource) in [("appliance", "LaunchTemplate"), ("fargate", "TaskDefinition")] {
        let template = template(name);
        let of = &template["Resources"][resource]["Properties"];
        let mut literals = Vec::new();
        below(of, "", &mut |_, key, inner| {
            if key == "Fn::Sub" {
                strings(inner, &mut literals);
            }
        });
        let literals: usize = literals.iter().map(String::len).sum();
        assert!(literals > 500, "{name}: {literals}");
        // `ServeConfiguration`, and room for ARNs, networks, addresses and claims of the provider.
        assert_eq!(template["Parameters"]["ServeConfiguration"]["MaxLength"], LONGEST);
        assert!(literals + LONGEST + 4 * 1024 < LIMIT, "{name}: {literals}");
    }
}
