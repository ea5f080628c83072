//! Fargate as the other kind of compute: a stack of its own, and the move from one kind to the other.

use super::cloud::Cloud;
use super::{CERTIFICATE, apply, deploy, ready};

const IMAGE: &str = "ContainerImage=123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow-appliance:0.1.0";
const FARGATE: [&str; 6] = ["--mode", "tracking", "--compute", "fargate", "--parameter", IMAGE];

/// Runs `deploy ACTION`, which has to succeed, and returns its standard output and its standard error.
fn succeeds(cloud: &Cloud, action: &[&str], arguments: &[&str]) -> (String, String) {
    let (code, shown, said) = deploy(cloud, &[action, arguments].concat());
    assert_eq!(code, Some(0), "{said}");
    (shown, said)
}

fn stacks(cloud: &Cloud) -> Vec<String> {
    cloud.world().stacks.keys().cloned().collect()
}

#[test]
fn tasks_are_launched_without_an_ami_and_upgraded_by_another_tag() {
    let cloud = Cloud::start();
    ready(&cloud);
    // No AMI was ever baked.
    cloud.world().image = Ok(None);
    let (shown, said) = succeeds(&cloud, &["apply", "--yes"], &FARGATE);
    assert_eq!(shown, "export MLFLOW_TRACKING_URI='http://tasks.elb.amazonaws.com'\n");
    assert!(said.contains("TokenSecret-y --name ci") && !said.contains("still serves"), "{said}");
    assert_eq!(stacks(&cloud), ["mlflow-fargate-tracking", "mlflow-mlflow-tracking", "mlflow-networking"]);
    let parameters = cloud.world().stacks["mlflow-fargate-tracking"].parameters.clone();
    assert_eq!(parameters["RepositoryArn"], "arn:aws:ecr:us-east-1:123456789012:repository/mlflow-appliance");
    assert_eq!(parameters["PrivateSubnetIds"], "subnet-01234569,subnet-0123456a");

    // The kind is remembered, and so is the image.
    let (_, said) = succeeds(&cloud, &["apply", "--yes", "--mode", "tracking"], &[]);
    assert_eq!(said.matches("no changes").count(), 3, "{said}");
    let (shown, _) = succeeds(&cloud, &["status", "--mode", "tracking"], &[]);
    assert!(shown.contains("mlflow-fargate-tracking") && !shown.contains("mlflow-appliance-"), "{shown}");
    let (shown, _) = succeeds(&cloud, &["outputs", "--mode", "tracking", "--env"], &[]);
    assert!(shown.contains("http://tasks.elb.amazonaws.com"), "{shown}");

    let newer = IMAGE.replace("0.1.0", "0.2.0");
    let arguments = ["--mode", "tracking", "--parameter", &newer];
    let (_, said) = succeeds(&cloud, &["apply", "--yes"], &arguments);
    assert!(said.contains("mlflow-fargate-tracking: 1 change") && said.contains(&newer.replace('=', " = ")), "{said}");

    let (_, said) = succeeds(&cloud, &["destroy", "--yes", "--shared", "--mode", "tracking"], &[]);
    assert!(said.contains("mlflow-fargate-tracking: removed") && stacks(&cloud).is_empty(), "{said}");
}

#[test]
fn an_account_that_has_never_used_ecs_is_an_obstacle() {
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().account.roles = Vec::new();
    let (code, _, said) = deploy(&cloud, &[&["apply", "--yes"][..], &FARGATE].concat());
    assert!(
        code == Some(1) && said.contains("the account has never used ECS: it lacks the role AWSServiceRoleForECS"),
        "{said}"
    );
    assert!(said.contains("`aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com`"), "{said}");
    assert!(stacks(&cloud).is_empty(), "{said}");
    // Instances need no such role.
    assert_eq!(apply(&cloud).0, Some(0));
}

#[test]
fn a_deployment_moves_from_instances_to_tasks_without_downtime() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    let before = cloud.world().stacks["mlflow-appliance-tracking"].parameters.clone();

    let (_, said) = succeeds(&cloud, &["apply", "--yes"], &FARGATE);
    assert!(said.contains("mlflow-appliance-tracking still serves at its own load balancer"), "{said}");
    assert!(said.contains("appliance deploy destroy --mode tracking --compute instances"), "{said}");
    let world = cloud.world();
    assert_eq!(world.stacks["mlflow-appliance-tracking"].parameters, before, "the instances stay as they are");
    let after = world.stacks["mlflow-fargate-tracking"].parameters.clone();
    drop(world);
    // The new stack takes over the values that both templates have.
    for name in ["CertificateArn", "DomainName"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(after["DeletionProtection"], "true");
    assert!(!after.contains_key("AmiParameter"), "{after:?}");

    // With both kinds of compute, a command needs `--compute`.
    let hint = "choose one with `--compute instances` or `--compute fargate`";
    for arguments in [&["apply", "--yes"][..], &["plan"], &["outputs", "--env"]] {
        let (code, _, said) = deploy(&cloud, &[arguments, &["--mode", "tracking"]].concat());
        assert!(code == Some(1) && said.contains(hint), "{arguments:?}: {said}");
    }
    let (shown, _) = succeeds(&cloud, &["status", "--mode", "tracking"], &[]);
    assert_eq!(shown.lines().count(), 4, "{shown}");
    let (_, said) = succeeds(&cloud, &["apply", "--yes", "--compute", "instances"], &["--mode", "tracking"]);
    assert_eq!(said.matches("no changes").count(), 3, "{said}");

    // The one that is left needs MLflow and the network.
    let (code, _, said) =
        deploy(&cloud, &["destroy", "--yes", "--mode", "tracking", "--compute", "instances", "--shared"]);
    assert!(code == Some(1) && said.contains("mlflow-networking is needed by mlflow-fargate-tracking"), "{said}");
    let (_, said) = succeeds(&cloud, &["destroy", "--yes", "--mode", "tracking"], &["--compute", "instances"]);
    assert!(said.contains("mlflow-mlflow-tracking is kept, because mlflow-fargate-tracking needs it"), "{said}");
    assert_eq!(stacks(&cloud), ["mlflow-fargate-tracking", "mlflow-mlflow-tracking", "mlflow-networking"]);
    let (shown, _) = succeeds(&cloud, &["outputs", "--mode", "tracking", "--env"], &[]);
    assert!(shown.contains("http://tasks.elb.amazonaws.com"), "{shown}");

    // The other mode must not take the network away from the tasks.
    let (code, _, said) = deploy(&cloud, &["destroy", "--yes", "--mode", "serverless", "--shared"]);
    assert!(code == Some(1) && said.contains("is needed by mlflow-fargate-tracking"), "{said}");
}

#[test]
fn an_image_that_tasks_cannot_pull_is_an_obstacle() {
    let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let no_nat = ["NatMode=none", "InterfaceEndpoints=minimal"];
    let closed = ["NatMode=none", "EndpointEcrApi=yes", "EndpointEcrDkr=yes", "EndpointLogs=no"];
    let cases = [
        (format!("{host}/mlflow-appliance:9"), &[][..], "ContainerImage: the registry has no", "push it"),
        (format!("{host}/other:0.1.0"), &[], "ContainerImage: the registry has no", "push it"),
        (
            format!("{host}/mlflow-appliance:0.1.0"),
            &no_nat,
            "cannot pull their image",
            "`--parameter EndpointEcrApi=yes`",
        ),
        (
            format!("{host}/mlflow-appliance:0.1.0"),
            &closed,
            "cannot pull their image",
            "pass `--parameter EndpointLogs=yes`",
        ),
        ("ghcr.io/corp/appliance:1".to_owned(), &no_nat, "a registry outside of AWS", "push the image to ECR"),
    ];
    for (image, more, obstacle, fix) in cases {
        let cloud = Cloud::start();
        ready(&cloud);
        let image = format!("ContainerImage={image}");
        let more: Vec<&str> = more.iter().flat_map(|one| ["--parameter", one]).collect();
        let fixed = ["apply", "--yes", "--mode", "tracking", "--compute", "fargate", "--parameter", &image];
        let (code, _, said) = deploy(&cloud, &[&fixed[..], &more].concat());
        assert!(code == Some(1) && said.contains(obstacle) && said.contains(fix), "{image} {more:?}: {said}");
        assert!(cloud.acts().is_empty(), "{:?}", cloud.acts());
    }
    // The emulated account may have five processors.
    let cloud = Cloud::start();
    ready(&cloud);
    let large = ["--parameter", "TaskSize=4096/8192"];
    let (code, _, said) = deploy(&cloud, &[&["apply", "--yes"], &FARGATE[..], &large].concat());
    assert!(code == Some(1) && said.contains("8 processors of tasks on Fargate are needed"), "{said}");
    assert!(said.contains("--service-code fargate --quota-code L-3032A538 --desired-value 8`"), "{said}");
    // All that tasks need is there; and no zone has to have an instance type.
    let cloud = Cloud::start();
    ready(&cloud);
    cloud.world().account.offered = Vec::new();
    let open = [&closed[..], &["EndpointLogs=yes"]].concat();
    let open: Vec<&str> = open.iter().flat_map(|one| ["--parameter", one]).collect();
    succeeds(&cloud, &["apply", "--yes"], &[&FARGATE[..], &open].concat());
    // `plan` cannot look into another company's registry.
    let image = "ContainerImage=ghcr.io/corp/appliance:1";
    let (_, said) =
        succeeds(&cloud, &["plan", "--mode", "serverless", "--compute", "fargate"], &["--parameter", image]);
    assert!(said.contains("preflight cannot look into the registry of ghcr.io/corp/appliance:1"), "{said}");
}

#[test]
fn values_of_the_other_kind_of_compute_are_rejected() {
    let cloud = Cloud::start();
    ready(&cloud);
    let cases = [
        (vec![], "ContainerImage: it has no value"),
        (vec!["ContainerImage=appliance"], "must be an image with its registry and a tag"),
        (vec!["ContainerImage=ghcr.io/corp/appliance"], "must be an image with its registry and a tag"),
        (vec![IMAGE, "InstanceType=t3.small"], "no template has the parameter InstanceType"),
        (vec![IMAGE, "TaskSize=256/4096"], "TaskSize: `256/4096`: it is not one of"),
        (vec![IMAGE, "MinTasks=3", "MaxTasks=2"], "MaxTasks has to be more than MinTasks"),
    ];
    for (given, reason) in cases {
        let given: Vec<&str> = given.iter().flat_map(|one| ["--parameter", one]).collect();
        let fixed = ["apply", "--yes", "--mode", "tracking", "--compute", "fargate"];
        let (code, _, said) = deploy(&cloud, &[&fixed[..], &given, &CERTIFICATE].concat());
        assert!(code == Some(78) && said.contains(reason), "{given:?}: {said}");
    }
    assert!(cloud.acts().is_empty(), "{:?}", cloud.acts());
}
