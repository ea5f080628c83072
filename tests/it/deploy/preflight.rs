//! Preflight: the questions to AWS before anything is created, and the obstacles that follow from the answers.

use super::cloud::{Cloud, World};
use super::{APPLY, CERTIFICATE, apply, deploy, ready};

fn parameters<'a>(given: &[&'a str]) -> Vec<&'a str> {
    given.iter().flat_map(|one| ["--parameter", one]).collect()
}

/// A change of the account, values of parameters, the obstacle, and its fix.
type Case = (fn(&mut World), &'static [&'static str], &'static str, &'static str);

const EXISTING: [&str; 6] = [
    "InterfaceEndpoints=minimal",
    "ExistingVpcId=vpc-0123456789abcdef0",
    "ExistingVpcCidr=10.0.0.0/16",
    "ExistingPrivateSubnetIds=subnet-01234569,subnet-0123456a",
    "ExistingRouteTableIds=rtb-0123456789abcdef0",
    "FlowLogs=off",
];

const CASES: [Case; 14] = [
    (|world| world.account.image = None, &[], "the image ami-0123456789abcdef0 is not in us-east-1", "bake the image"),
    (
        |world| world.account.image = Some(("pending", "arm64", "/dev/xvda")),
        &[],
        "the image ami-0123456789abcdef0 is pending",
        "wait until it is available",
    ),
    (
        |world| world.account.image = Some(("available", "x86_64", "/dev/xvda")),
        &[],
        "is for x86_64, and Architecture is not",
        "pass `--parameter Architecture=x86_64`",
    ),
    (
        |world| world.account.image = Some(("available", "arm64", "/dev/sda1")),
        &[],
        "is `/dev/sda1`, and the template's /dev/xvda",
        "use an image that one of the appliance's two bakes has made",
    ),
    (
        |world| world.without.push("AWS::SageMaker::MlflowTrackingServer"),
        &[],
        "CloudFormation has no AWS::SageMaker::MlflowTrackingServer in us-east-1",
        "`--parameter ExistingResourceArn=…`",
    ),
    (
        |world| world.account.offered = vec!["us-east-1b", "us-east-1d"],
        &[],
        "t4g.small is not available in us-east-1a, one of the network's zones",
        "pass `--parameter AvailabilityZone1=us-east-1d`",
    ),
    (
        |world| world.account.offered = vec!["us-east-1b"],
        &["AvailabilityZone1=us-east-1b", "AvailabilityZone2=us-east-1f", "InstanceType=m7g.large"],
        "m7g.large is not available in us-east-1f",
        "choose another type with `--parameter InstanceType=…`",
    ),
    (
        |world| world.account.zones = vec!["us-east-1a"],
        &[],
        "the network wants 2 zones, and us-east-1 shows 1",
        "name each zone with `--parameter AvailabilityZone1=…`",
    ),
    (
        |world| world.account.without = vec![".sts"],
        &["InterfaceEndpoints=minimal"],
        "us-east-1 has no VPC endpoint for com.amazonaws.us-east-1.sts",
        "turn that endpoint off",
    ),
    (
        |world| world.account.endpoints = vec![("vpce-1", "com.amazonaws.us-east-1.sts", true, "")],
        &EXISTING,
        "vpc-0123456789abcdef0 has the endpoint vpce-1 for com.amazonaws.us-east-1.sts already",
        "turn the new endpoint off",
    ),
    (
        |world| {
            world.account.endpoints = vec![("vpce-2", "com.amazonaws.us-east-1.s3", false, "rtb-0123456789abcdef0")];
        },
        &EXISTING,
        "has the gateway vpce-2 for com.amazonaws.us-east-1.s3 already, and the route table rtb-0123456789abcdef0",
        "leave that route table out of `--parameter ExistingRouteTableIds=…`",
    ),
    (
        |world| world.account.vpcs = 5,
        &[],
        "us-east-1 has 5 VPCs of 5 that the account may have, and 1 more are needed",
        "--quota-code L-F678F1CE --desired-value 6",
    ),
    (
        |world| world.account.certificate = "PENDING_VALIDATION",
        &[CERTIFICATE[1], CERTIFICATE[3]],
        "CertificateArn: the certificate is PENDING_VALIDATION",
        "finish its validation",
    ),
    (
        |_| {},
        &[CERTIFICATE[1], "DomainName=mlflow.example.com"],
        "the certificate is for mlflow.corp, *.corp, mlflow.corp, and not for mlflow.example.com",
        "name a certificate for this name",
    ),
];

#[test]
fn obstacles_are_reported_with_cause_and_fix_before_anything_is_created() {
    let cloud = Cloud::start();
    for (change, given, what, fix) in CASES {
        *cloud.world() = World::default();
        ready(&cloud);
        change(&mut cloud.world());
        let given = [&["Architecture=arm64"], given].concat();
        let (code, _, said) = deploy(&cloud, &[&APPLY[..], &parameters(&given)].concat());
        assert!(code == Some(1) && said.contains("nothing has been created yet"), "{what}: {said}");
        let finding = said.split("  AmiParameter").flat_map(|part| part.split("\n  ")).find(|one| one.contains(what));
        let finding = finding.unwrap_or_else(|| panic!("{what}: {said}"));
        let rest = &said[said.find(finding).unwrap() + finding.len()..];
        assert!(rest.starts_with("\n    hint: ") && rest.lines().nth(1).unwrap().contains(fix), "{fix}: {said}");
        assert!(cloud.world().stacks.is_empty(), "{said}");
        // A plan tells the same, and can be read.
        let plan = ["plan", "--mode", "tracking"];
        let (code, _, said) = deploy(&cloud, &[&plan[..], &parameters(&given)].concat());
        assert!(code == Some(0) && said.contains("warning: `apply` would fail: ") && said.contains(what), "{said}");
    }
    assert!(cloud.acts().is_empty(), "{:?}", cloud.acts());
}

#[test]
fn all_obstacles_are_reported_at_once_and_existing_stacks_are_not_checked() {
    let cloud = Cloud::start();
    ready(&cloud);
    let mut world = cloud.world();
    world.account.vpcs = 5;
    world.account.offered = vec!["us-east-1b", "us-east-1c"];
    drop(world);
    let (_, _, said) = apply(&cloud);
    assert_eq!(said.matches("\n    hint: ").count(), 2, "{said}");
    cloud.world().account.vpcs = 4;
    let (code, _, said) =
        deploy(&cloud, &[&APPLY[..], &CERTIFICATE, &parameters(&["AvailabilityZone1=us-east-1c"])].concat());
    assert!(code == Some(0) && said.contains(" is mlflow-appliance-1 (by a bake)\n"), "{said}");
    // Now the VPC is one of those that there are.
    cloud.world().account.vpcs = 5;
    assert_eq!(apply(&cloud).0, Some(0));
}

#[test]
fn unanswered_questions_are_reported_with_the_permission_and_left_to_cloudformation() {
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().account.closed = vec!["ec2", "servicequotas", "acm", "sts"];
    let (code, _, said) = apply(&cloud);
    assert_eq!(code, Some(0), "{said}");
    for action in [
        "ec2:DescribeImages",
        "ec2:DescribeAvailabilityZones",
        "servicequotas:GetServiceQuota",
        "acm:DescribeCertificate",
        "sts:GetCallerIdentity",
    ] {
        assert!(said.contains(&format!("(allow `{action}`)")), "{action}: {said}");
    }
}

#[test]
fn a_studio_domain_of_the_same_name_is_an_obstacle_to_a_new_one() {
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().account.domains = vec!["science", "mlflow-sagemaker-domain"];
    let (code, _, said) = deploy(&cloud, &[&APPLY[..], &CERTIFICATE, &["--domain"]].concat());
    let words = "us-east-1 has the Studio domain d-1 with the name mlflow-sagemaker-domain already";
    assert!(code == Some(1) && said.contains(words) && said.contains("choose another `--prefix`"), "{said}");
    // Without a domain of the stack's own there is nothing to ask.
    assert_eq!(apply(&cloud).0, Some(0));
}

#[test]
fn missing_permissions_are_named() {
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().account.denied = vec!["iam:CreateRole", "elasticfilesystem:CreateFileSystem"];
    let (code, _, said) = apply(&cloud);
    let words =
        "warning: IAM's simulator says that arn:aws:iam::123456789012:role/deployer may not call iam:CreateRole\n";
    assert!(code == Some(0) && said.contains(words), "file systems are Studio's: {said}");
    let role = "arn:aws:iam::123456789012:role/service/cloudformation";
    let (_, _, said) = deploy(&cloud, &[&APPLY[..], &["--role-arn", role]].concat());
    assert!(said.contains(&format!("simulator says that {role} may not call iam:CreateRole")), "{said}");
}

#[test]
fn a_role_with_a_path_is_simulated_by_its_whole_arn() {
    let cloud = Cloud::start();
    ready(&cloud);
    // A session of IAM Identity Center shows the name of its role alone.
    cloud.world().account.roles.push("deployer");
    assert_eq!(apply(&cloud).0, Some(0));
    let simulated = cloud.world().account.simulated.clone();
    let whole = "arn:aws:iam::123456789012:role/path/deployer";
    assert!(!simulated.is_empty() && simulated.iter().all(|one| one == whole), "{simulated:?}");
}

#[test]
fn the_architecture_that_was_baked_is_chosen() {
    let (usual, other) = ("x86_64", "arm64");
    let cloud = Cloud::start();
    ready(&cloud);
    let architecture = || {
        let parameters = &cloud.world().stacks["mlflow-appliance-tracking"].parameters;
        (parameters["Architecture"].clone(), parameters["AmiParameter"].clone())
    };
    cloud.world().only = Some(other);
    let (code, _, said) = apply(&cloud);
    let words = format!("Architecture = {other}: the bake has published an image for it, and none for {usual}");
    assert!(code == Some(0) && said.contains(&words), "{said}");
    let chosen = (other.to_owned(), format!("/mlflow-appliance/ami/{other}"));
    assert_eq!(architecture(), chosen);
    // It stays as it is when there are both.
    cloud.world().only = None;
    assert_eq!(apply(&cloud).0, Some(0));
    assert_eq!(architecture(), chosen);
    // A given value is not replaced.
    cloud.world().only = Some(other);
    let asked = format!("Architecture={usual}");
    let (code, _, said) = deploy(&cloud, &["apply", "--yes", "--mode", "serverless", "--parameter", &asked]);
    assert!(code == Some(1) && said.contains(&format!("has no `/mlflow-appliance/ami/{usual}`")), "{said}");
}

#[test]
fn an_mlflow_that_exists_can_be_used_where_cloudformation_has_no_apps() {
    let cloud = Cloud::start();
    let arn = "ExistingResourceArn=arn:aws:sagemaker:eu-central-2:123456789012:mlflow-app/app-ABCDEF123456";
    let arguments = ["plan", "--mode", "serverless", "--region", "eu-central-2"];
    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(78) && said.contains("there is no serverless MLflow in eu-central-2"), "{said}");
    // The rest of this test's AWS is in another region, which is seen by the signature.
    let (_, _, said) = deploy(&cloud, &[&arguments[..], &["--parameter", arn]].concat());
    assert!(!said.contains("there is no serverless MLflow"), "{said}");
}
