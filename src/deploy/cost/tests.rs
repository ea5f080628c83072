use super::*;

fn items(pairs: &[(&str, &str)], mode: Option<DeployMode>, has_domain: bool) -> Vec<CostItem> {
    let values = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    cost(&values, mode, Compute::Instances, has_domain).expect("these can be chosen")
}

fn items_of_tasks(pairs: &[(&str, &str)]) -> Vec<CostItem> {
    let values = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    cost(&values, None, Compute::Fargate, false).expect("these can be chosen")
}

fn sum(pairs: &[(&str, &str)]) -> f64 {
    items(pairs, None, false).iter().filter_map(CostItem::dollars).sum()
}

#[test]
fn the_estimate_follows_the_parameters() {
    let lean = [("NatMode", "none"), ("InterfaceEndpoints", "none"), ("InstanceType", "t4g.micro")];
    let nat = [("NatMode", "one"), ("InterfaceEndpoints", "none"), ("InstanceType", "t4g.micro")];
    let endpoints = [
        ("NatMode", "none"),
        ("InterfaceEndpoints", "minimal"),
        ("MlflowEndpoints", "both"),
        ("InstanceType", "t4g.micro"),
    ];
    assert!((sum(&nat) - sum(&lean) - 36.5).abs() < 0.01, "{}", sum(&nat));
    assert!((sum(&endpoints) - sum(&lean) - 102.2).abs() < 0.01, "{}", sum(&endpoints));
    let one_less = [&endpoints[..], &[("EndpointSts", "no")]].concat();
    assert!((sum(&endpoints) - sum(&one_less) - 14.6).abs() < 0.01, "{}", sum(&one_less));
    let secret = ("ExistingTokenSecretArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:tokens-AbCdEf");
    let without_secret = [&lean[..], &[secret]].concat();
    assert!((sum(&lean) - sum(&without_secret) - 0.4).abs() < 0.01, "{}", sum(&without_secret));
    for (zones, mode, gateways) in
        [("2", "none", 0.0), ("3", "one", 1.0), ("2", "per-zone", 2.0), ("3", "per-zone", 3.0)]
    {
        let chosen =
            [("Zones", zones), ("NatMode", mode), ("InterfaceEndpoints", "none"), ("InstanceType", "t4g.micro")];
        assert!((sum(&chosen) - sum(&lean) - gateways * 36.5).abs() < 0.01, "{mode} in {zones}: {}", sum(&chosen));
    }
    let choices = StackKind::Appliance.template().parameters["InstanceType"].allowed_values.clone();
    for choice in choices.iter().map(ToString::to_string).filter(|choice| !choice.is_empty()) {
        assert!(INSTANCES.iter().any(|(name, _)| *name == choice), "{choice} has no price");
    }
}

#[test]
fn tasks_are_priced_by_processor_memory_and_disk() {
    let sum = |pairs: &[(&str, &str)]| -> f64 { items_of_tasks(pairs).iter().filter_map(CostItem::dollars).sum() };
    let price = |pairs: &[(&str, &str)]| {
        let all = items_of_tasks(pairs);
        all.iter().find(|item| item.what.contains("Fargate")).and_then(CostItem::dollars).expect("tasks")
    };
    // Half a processor, 1 GiB and 1 GiB of disk that is not free.
    assert!((price(&[]) - 730.0 * (0.5 * 0.04048 + 0.004_445 + 0.000_111)).abs() < 0.01, "{}", price(&[]));
    let large = [("TaskSize", "2048/8192"), ("Architecture", "arm64"), ("MinTasks", "2")];
    assert!((price(&large) - 2.0 * 730.0 * (2.0 * 0.03238 + 8.0 * 0.00356 + 0.000_111)).abs() < 0.01);
    // All else costs what it costs beside instances.
    let instances: f64 =
        items(&[], None, false).iter().filter(|item| !item.what.contains("1 ×")).filter_map(CostItem::dollars).sum();
    assert!((sum(&[]) - price(&[]) - instances).abs() < 0.01);
    let insights =
        |value| items_of_tasks(&[("ContainerInsights", value)]).iter().any(|one| one.what.contains("Insights"));
    assert!(insights("enabled") && !insights("disabled"));
}

#[test]
fn managed_mlflow_is_listed_with_its_size_and_without_an_invented_price() {
    let mlflow = |pairs: &[(&str, &str)], mode| {
        let all = items(pairs, mode, false);
        all.into_iter().find(|item| item.what.starts_with("managed MLflow"))
    };
    for (pairs, mode, expected) in [
        (&[][..], Some(DeployMode::Tracking), "a tracking server of the size Small, by the hour"),
        (&[("TrackingServerSize", "Large")][..], Some(DeployMode::Tracking), "of the size Large"),
        (&[][..], Some(DeployMode::Serverless), "a serverless app"),
        (&[][..], None, "set `--mode`"),
    ] {
        let found = mlflow(pairs, mode).expect(expected);
        assert!(found.what.contains(expected), "{found:?}");
        assert_eq!(found.price, CostPrice::StatedAt(SAGEMAKER_PRICES));
    }
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/mine";
    assert_eq!(mlflow(&[("ExistingResourceArn", arn)], Some(DeployMode::Tracking)), None);
}

#[test]
fn logs_are_listed_unless_none_are_sent() {
    let listed =
        |days| items(&[("LogRetentionDays", days)], None, false).iter().any(|item| item.what.contains("audit log"));
    assert!(listed("90") && !listed("0"));
}

#[test]
fn every_type_of_resource_is_free_or_in_the_estimate() {
    let free = [
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::AutoScaling::ScalingPolicy",
        "AWS::EC2::EIP",
        // The tasks cost.
        "AWS::ECS::Cluster",
        "AWS::ECS::Service",
        "AWS::EC2::FlowLog",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SageMaker::UserProfile",
        "AWS::WAFv2::WebACLAssociation",
    ];
    let listed = [
        ("AWS::CloudWatch::Alarm", "alarms"),
        ("AWS::CloudWatch::Dashboard", "dashboard"),
        ("AWS::EC2::NatGateway", "NAT"),
        ("AWS::EC2::VPCEndpoint", "endpoints"),
        ("AWS::ECS::TaskDefinition", "Fargate"),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "load balancer"),
        ("AWS::KMS::Key", "KMS"),
        ("AWS::Logs::LogGroup", "log"),
        ("AWS::S3::Bucket", "S3"),
        ("AWS::SageMaker::Domain", "Studio"),
        ("AWS::SageMaker::MlflowApp", "managed MLflow"),
        ("AWS::SageMaker::MlflowTrackingServer", "managed MLflow"),
        ("AWS::SecretsManager::Secret", "secret"),
        ("AWS::WAFv2::WebACL", "WAF"),
    ];
    let all = [("InterfaceEndpoints", "full"), ("WebAcl", "managed"), ("ArtifactEncryption", "kms")];
    let items = [items(&all, Some(DeployMode::Tracking), true), items_of_tasks(&all)].concat();
    for kind in StackKind::ALL {
        for (name, resource) in kind.template().resources {
            let of_type = resource.r#type.as_str();
            let item = listed.iter().find(|(known, _)| *known == of_type).map(|(_, what)| *what);
            assert_eq!(free.contains(&of_type), item.is_none(), "{name} is {of_type}");
            let is_listed = item.is_none_or(|what| items.iter().any(|item| item.what.contains(what)));
            assert!(is_listed, "{name} is {of_type}: {items:?}");
        }
    }
}
