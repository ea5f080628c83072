//! The checks of values before anything is created, and the output of a plan.

use serde_json::Value;

use super::cloud::Cloud;
use super::{APPLY, CERTIFICATE, apply, deploy, ready};

fn parameters<'a>(given: &[&'a str]) -> Vec<&'a str> {
    given.iter().flat_map(|one| ["--parameter", one]).collect()
}

#[test]
fn rules_among_values_are_evaluated_before_anything_is_created() {
    let cloud = Cloud::start();
    ready(&cloud);
    let elsewhere =
        "CertificateArn=arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012";
    let cases: [(&[&str], &str); 7] = [
        (&CERTIFICATE[1..2], "With CertificateArn, DomainName has to be one of the certificate's names"),
        (&["Scheme=internet-facing"], "An internet-facing load balancer needs CertificateArn"),
        (&["InstanceType=t4g.small"], "With Architecture=x86_64, InstanceType has to be of the t3"),
        (&["MinInstances=2", "MaxInstances=2"], "MaxInstances has to be more than MinInstances"),
        (&["ExistingVpcId=vpc-0123456789abcdef0"], "With ExistingVpcId, ExistingVpcCidr has to be its network"),
        (&["AmiParameter=/mlflow-appliance/ami/arm64"], "is for arm64, and Architecture is x86_64"),
        (&[elsewhere, "DomainName=mlflow.corp"], "CertificateArn: it is of eu-west-1; one of us-east-1 is needed"),
    ];
    for (given, words) in cases {
        for action in [&APPLY[..], &["plan", "--mode", "tracking"]] {
            let (code, _, said) = deploy(&cloud, &[action, &parameters(given)].concat());
            assert!(code == Some(78) && said.contains(words), "{given:?}: {said}");
        }
    }
    assert!(cloud.acts().is_empty() && cloud.world().stacks.is_empty());
    // The values of an existing stack count as well.
    assert_eq!(apply(&cloud).0, Some(0));
    let acts = cloud.acts().len();
    let (code, _, said) = deploy(&cloud, &[&APPLY[..], &parameters(&["DomainName="])].concat());
    assert!(code == Some(78) && said.contains("invalid parameter values for mlflow-appliance-tracking"), "{said}");
    assert_eq!(cloud.acts().len(), acts);
    let (code, _, said) = deploy(&cloud, &[&APPLY[..], &parameters(&["DomainName=other.corp"])].concat());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_missing_image_is_reported_before_anything_is_created() {
    let cloud = Cloud::start();
    ready(&cloud);
    let cases = [
        (
            Ok(None),
            "AmiParameter names no image: the Parameter Store of us-east-1 has no `/mlflow-appliance/ami/x86_64`",
        ),
        (Ok(Some("soon")), "AmiParameter names no image: `/mlflow-appliance/ami/x86_64` in us-east-1 is `soon`"),
    ];
    for (image, words) in cases {
        cloud.world().image = image;
        let (code, _, said) = apply(&cloud);
        assert!(code == Some(1) && said.contains(words) && said.contains("hint: bake an image"), "{said}");
        assert!(cloud.acts().is_empty() && cloud.world().stacks.is_empty());
        // A plan can be read before there is an image.
        let (code, _, said) = deploy(&cloud, &["plan", "--mode", "tracking"]);
        assert!(code == Some(0) && said.contains(&format!("warning: `apply` would fail: {words}")), "{said}");
    }
    // Without the permission there is a warning, and CloudFormation looks itself.
    cloud.world().image = Err("AccessDeniedException");
    let (code, _, said) = apply(&cloud);
    let words = "warning: preflight cannot tell whether `/mlflow-appliance/ami/x86_64` exists";
    assert!(code == Some(0) && said.contains(words) && said.contains("`ssm:GetParameters` on"), "{said}");
}

#[test]
fn a_plan_can_be_printed_as_json() {
    let cloud = Cloud::start();
    ready(&cloud);
    let plan = ["plan", "--json", "--detailed-exitcode", "--mode", "tracking", "--parameter", "NatMode=per-zone"];
    let (code, shown, said) = deploy(&cloud, &plan);
    assert_eq!(code, Some(2), "{said}");
    let all: Value = serde_json::from_str(&shown).unwrap();
    let names: Vec<&String> = all.as_object().unwrap().keys().collect();
    assert_eq!(names, ["mlflow-appliance-tracking", "mlflow-mlflow-tracking", "mlflow-networking"]);
    let network = all["mlflow-networking"]["changes"].as_array().unwrap();
    let gateways = network.iter().filter(|one| one["type"] == "AWS::EC2::NatGateway").count();
    assert!(all["mlflow-networking"]["action"] == "create" && gateways == 2, "{shown}");
    assert!(said.contains(&format!("mlflow-networking: would be created, with {} resources", network.len())), "{said}");
    let role = network.iter().find(|one| one["type"] == "AWS::IAM::Role").unwrap();
    assert!(role["permissions"] == true && role["action"] == "Add", "{role}");
    // The endpoints depend on another stack, which does not exist yet.
    assert!(said.contains("? perhaps add"), "{said}");

    assert_eq!(apply(&cloud).0, Some(0));
    let (code, shown, _) = deploy(&cloud, &["plan", "--json", "--detailed-exitcode", "--mode", "tracking"]);
    let all: Value = serde_json::from_str(&shown).unwrap();
    assert!(code == Some(0) && all["mlflow-networking"]["action"] == "none", "{shown}");
    let (code, shown, _) = deploy(&cloud, &plan);
    let all: Value = serde_json::from_str(&shown).unwrap();
    let change = &all["mlflow-networking"]["changes"][0];
    assert!(code == Some(2) && change["action"] == "Modify" && change["type"] == "AWS::EC2::VPC", "{shown}");
    assert_eq!(all["mlflow-mlflow-tracking"]["action"], "none");
}

#[test]
fn cost_has_json_and_rejects_impossible_settings() {
    let cloud = Cloud::start();
    let (code, shown, _) = deploy(&cloud, &["cost", "--json"]);
    let all: Value = serde_json::from_str(&shown).unwrap();
    let sum: f64 = all["items"].as_array().unwrap().iter().filter_map(|item| item["dollars"].as_f64()).sum();
    assert!(code == Some(0) && all["estimate"] == true && (all["sum"].as_f64().unwrap() - sum).abs() < 0.01, "{shown}");
    let (_, shown, _) = deploy(&cloud, &["cost"]);
    assert!(shown.contains(&format!("{sum:9.2}  US dollars a month. This is an estimate")), "{shown}");
    let of_mlflow = |shown: &str| -> Vec<String> {
        shown.lines().filter(|line| line.contains("managed MLflow")).map(ToOwned::to_owned).collect()
    };
    assert!(of_mlflow(&shown).len() == 1 && shown.contains("set `--mode`"), "{shown}");
    let large = ["cost", "--mode", "tracking", "--parameter", "TrackingServerSize=Large"];
    let (_, shown, _) = deploy(&cloud, &large);
    let expected = "        ?  managed MLflow: a tracking server of the size Large, by the hour, and its storage: \
                    https://aws.amazon.com/sagemaker/pricing/";
    assert_eq!(of_mlflow(&shown), [expected], "{shown}");
    let (_, shown, _) = deploy(&cloud, &[&large[..], &["--json"]].concat());
    let all: Value = serde_json::from_str(&shown).unwrap();
    let items = all["items"].as_array().unwrap();
    let mlflow = items.iter().find(|item| item["what"].as_str().unwrap().contains("size Large")).unwrap();
    assert!(mlflow["dollars"].is_null() && mlflow["price_page"] == "https://aws.amazon.com/sagemaker/pricing/");
    assert!(items.iter().all(|item| item["dollars"].is_null() != item["price_page"].is_null()), "{shown}");
    let (code, _, said) = deploy(&cloud, &["cost", "--parameter", "NatMode=many"]);
    assert!(code == Some(78) && said.contains("NatMode: `many`: it is not one of"), "{said}");
    let (code, _, said) = deploy(&cloud, &["cost", "--parameter", "Nonsense=1"]);
    assert!(code == Some(78) && said.contains("no template has the parameter Nonsense"), "{said}");
    assert!(cloud.upstream.requests().is_empty());
}
