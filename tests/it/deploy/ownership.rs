//! The ownership of stacks: their tags, the role that CloudFormation assumes, their image, and the resources that they leave behind.

use super::cloud::{Cloud, Script};
use super::{APPLY, apply, deploy, ready};

const APPLIANCE: &str = "mlflow-appliance-tracking";
const DESTROY: [&str; 4] = ["destroy", "--yes", "--mode", "tracking"];

/// The tags of the appliance's stack, which CloudFormation copies to its instances.
pub fn stack_tags() -> Vec<(String, String)> {
    let cloud = Cloud::start();
    ready(&cloud);
    let (code, _, said) = deploy(&cloud, &[&APPLY[..], &["--tag", "team:ml=a b"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let tags = cloud.world().stacks[APPLIANCE].tags.clone();
    tags.into_iter().collect()
}

#[test]
fn tags_and_a_role_are_passed_to_cloudformation_and_tags_stay() {
    let cloud = Cloud::start();
    ready(&cloud);
    let role = "arn:aws:iam::123456789012:role/cloudformation";
    let more = ["--tag", "team=ml", "--tag", "CostCenter=4 2", "--role-arn", role];
    let (code, _, said) = deploy(&cloud, &[&APPLY[..], &more].concat());
    assert_eq!(code, Some(0), "{said}");
    let tags = || cloud.world().stacks[APPLIANCE].tags.clone();
    let expected = [
        ("CostCenter", "4 2"),
        ("mlflow-appliance-set", "mlflow"),
        ("project", "sagemaker-mlflow-appliance"),
        ("team", "ml"),
    ];
    let expected: Vec<_> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(tags().into_iter().collect::<Vec<_>>(), expected);
    let made: Vec<_> = cloud.forms().into_iter().filter(|form| form["Action"] == "CreateChangeSet").collect();
    assert!(made.len() == 4 && made.iter().all(|form| form["RoleARN"] == role), "{made:?}");
    // An update without them would take them away from everything.
    assert_eq!(apply(&cloud).0, Some(0));
    assert_eq!(tags().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(deploy(&cloud, &[&DESTROY[..], &["--role-arn", role]].concat()).0, Some(0));
    let deleted: Vec<_> = cloud.forms().into_iter().filter(|form| form["Action"] == "DeleteStack").collect();
    assert!(deleted.len() == 2 && deleted.iter().all(|form| form["RoleARN"] == role), "{deleted:?}");
}

#[test]
fn tags_that_no_instance_accepts_are_rejected_before_aws_is_called() {
    let cloud = Cloud::start();
    for (tag, words) in [
        ("Cost Center=1", "tag `Cost Center`: EC2 starts no instance with it"),
        ("team/ml=1", "tag `team/ml`: EC2 starts no instance with it"),
        ("aws:x=1", "tag `aws:x`: keys that begin with `aws:` are AWS's own"),
        ("appliance:workers=1", "tag `appliance:workers`: instances read it as configuration"),
        ("mlflow-appliance-set=x", "tag `mlflow-appliance-set`: instances read it"),
    ] {
        for action in [&APPLY[..], &["plan", "--mode", "tracking"]] {
            let (code, _, said) = deploy(&cloud, &[action, &["--tag", tag]].concat());
            assert!(code == Some(78) && said.contains(words), "{tag}: {said}");
        }
    }
    assert!(cloud.upstream.requests().is_empty());
}

#[test]
fn a_new_image_is_shown_before_any_change_applies_it() {
    let cloud = Cloud::start();
    ready(&cloud);
    let (_, _, said) = deploy(&cloud, &[&APPLY[..], &["--parameter", "Architecture=arm64"]].concat());
    assert!(!said.contains("the image was"), "{said}");
    assert!(!apply(&cloud).2.contains("the image was"));
    cloud.world().image = Ok(Some("ami-0123456789abcdef1"));
    let words = "mlflow-appliance-tracking: any change replaces its instances one by one, because the image was \
                 ami-0123456789abcdef0 and is now ami-0123456789abcdef1\n";
    let (_, _, said) = deploy(&cloud, &["plan", "--mode", "tracking"]);
    assert!(said.contains(words), "{said}");
    let (_, _, said) = deploy(&cloud, &["apply", "--mode", "tracking", "--parameter", "RootVolumeSize=30"]);
    assert!(said.contains(words) && said.contains("Apply these changes to mlflow-appliance-tracking?"), "{said}");
}

#[test]
fn stacks_are_destroyed_although_their_image_is_missing() {
    let cloud = Cloud::start();
    ready(&cloud);
    assert_eq!(apply(&cloud).0, Some(0));
    cloud.world().image = Ok(None);
    let (code, _, said) = deploy(&cloud, &DESTROY);
    assert!(code == Some(0) && !said.contains("names no image"), "{said}");
}

#[test]
fn resources_that_a_failed_creation_leaves_behind_are_listed_now_and_later() {
    let cloud = Cloud::start();
    ready(&cloud);
    let failing = Script { events: vec![("Thing", "CREATE_FAILED", "no")], end: "ROLLBACK_COMPLETE" };
    cloud.world().scripts.insert(APPLIANCE.into(), failing);
    assert_eq!(apply(&cloud).0, Some(1));
    let bucket = ("AccessLogBucket".to_owned(), "AWS::S3::Bucket".to_owned(), "mlflow-logs-1".to_owned());
    let mut world = cloud.world();
    world.scripts.clear();
    world.stacks.get_mut(APPLIANCE).unwrap().resources.push(bucket);
    let arn = |name: &str| format!("arn:aws:s3:::{name}");
    world.account.tagged = vec![arn("mlflow-logs-1"), "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1".to_owned()];
    drop(world);
    // By `destroy`, while the failed stack is there.
    let (_, _, said) = deploy(&cloud, &["destroy", "--mode", "tracking"]);
    assert!(said.contains("  AWS::S3::Bucket mlflow-logs-1 (mlflow-appliance-tracking)\n"), "{said}");
    assert!(!said.contains("left over"), "once is enough: {said}");
    // By the next start, which removes that stack.
    let (code, _, said) = apply(&cloud);
    assert!(
        code == Some(0) && said.contains("  AWS::S3::Bucket mlflow-logs-1 (mlflow-appliance-tracking)\n"),
        "{said}"
    );
    // By every `destroy` after it.
    for _ in 0..2 {
        let (code, _, said) = deploy(&cloud, &DESTROY);
        assert!(code == Some(0) && said.contains("  arn:aws:s3:::mlflow-logs-1 (left over)\n"), "{said}");
    }
    cloud.world().account.closed = vec!["tagging"];
    let (code, _, said) = deploy(&cloud, &DESTROY);
    assert!(code == Some(0) && said.contains("(allow `tag:GetResources`)"), "{said}");
}
