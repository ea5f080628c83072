//! The settings of the load balancer, its firewall and the group, compared with the settings of the appliance.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{resources, strings, template};

/// The properties of the one resource of this type that instances have. `fargate.rs` compares it with that of the tasks.
fn only(of: &str) -> Value {
    let mut found = resources(of);
    found.retain(|(name, ..)| *name != "fargate");
    assert_eq!(found.len(), 1, "{of}");
    found.remove(0).2["Properties"].clone()
}

fn attribute(properties: &Value, list: &str, key: &str) -> Value {
    let list = properties[list].as_array().unwrap();
    list.iter().find(|one| one["Key"] == key).unwrap_or_else(|| panic!("no {key}"))["Value"].clone()
}

/// Returns the user data of an instance, without the values of parameters.
fn user_data() -> String {
    let mut told = Vec::new();
    strings(
        &template("appliance")["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"],
        &mut told,
    );
    told.join("\n")
}

fn idle_timeout() -> u64 {
    let idle = attribute(
        &only("AWS::ElasticLoadBalancingV2::LoadBalancer"),
        "LoadBalancerAttributes",
        "idle_timeout.timeout_seconds",
    );
    idle.as_str().unwrap().parse().unwrap()
}

#[test]
fn the_appliance_keeps_connections_longer_than_the_balancer() {
    let told = user_data();
    let kept =
        told.split("keep-alive = \"").nth(1).and_then(|rest| rest.split_once("s\"")).expect("keep-alive in user data");
    let kept: u64 = kept.0.parse().unwrap();
    // Otherwise the balancer sends requests into connections that are just being closed, and answers 502 itself.
    assert!(
        kept > idle_timeout(),
        "the balancer keeps an idle connection for {} s, the appliance for {kept} s",
        idle_timeout()
    );
}

#[test]
fn requests_in_flight_finish_when_an_instance_is_replaced() {
    let targets = only("AWS::ElasticLoadBalancingV2::TargetGroup");
    assert_eq!(attribute(&targets, "TargetGroupAttributes", "deregistration_delay.timeout_seconds"), "${DrainSeconds}");
    let about = &template("appliance")["Parameters"]["DrainSeconds"];
    // A stream that may be silent for the idle timeout is not cut off earlier; 3,600 is all that a balancer offers, and an
    // appliance drains for 30 seconds after SIGTERM.
    assert!(about["Default"].as_u64() >= Some(idle_timeout()), "{about}");
    assert!(about["MaxValue"] == 3600 && about["MinValue"].as_u64() > Some(30), "{about}");
}

#[test]
fn another_scheme_makes_new_targets_for_the_new_balancer() {
    let targets = only("AWS::ElasticLoadBalancingV2::TargetGroup");
    let name = targets["Name"][0].as_str().expect("a name that changes with the scheme");
    assert!(name.contains("${Scheme}"), "{name}");
    let parts = targets["Name"][1].as_object().unwrap();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["Id"], "the first eight digits of the stack's id");
    let schemes = template("appliance")["Parameters"]["Scheme"]["AllowedValues"].clone();
    for scheme in schemes.as_array().unwrap() {
        let name = name.replace("${Scheme}", scheme.as_str().unwrap()).replace("${Id}", "01234567");
        assert!(name.len() <= 32 && name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '-'), "{name}");
    }
}

#[test]
fn a_single_instance_is_replaced_without_a_gap() {
    let targets = only("AWS::ElasticLoadBalancingV2::TargetGroup");
    let seconds = |name: &str| targets[name].as_u64().unwrap();
    // A new instance gets requests soon after it is ready, and CloudFormation hears of it only then.
    assert!(seconds("HealthCheckIntervalSeconds") * seconds("HealthyThresholdCount") <= 10, "{targets}");
    assert!(seconds("HealthCheckTimeoutSeconds") < seconds("HealthCheckIntervalSeconds"), "{targets}");
    let told = user_data();
    assert!(told.contains("target-group = \"${TargetGroup}\""), "{told}");
    let mut allowed = Vec::new();
    strings(&template("appliance")["Resources"]["InstancePolicy"], &mut allowed);
    assert!(allowed.iter().any(|one| one == "elasticloadbalancing:DescribeTargetHealth"), "{allowed:?}");

    let group = only("AWS::AutoScaling::AutoScalingGroup");
    // Health replacement, a move between zones and `start-instance-refresh` start before they stop.
    assert_eq!(group["InstanceMaintenancePolicy"]["MinHealthyPercentage"], 100);
    assert_eq!(group["InstanceMaintenancePolicy"]["MaxHealthyPercentage"], 200);
}

#[test]
fn a_failed_first_start_leaves_nothing_behind() {
    let mut kept = 0;
    for name in super::NAMES {
        for (resource, value) in template(name)["Resources"].as_object().unwrap() {
            if let Some(policy) = value.get("DeletionPolicy").filter(|policy| *policy != "Delete") {
                assert_eq!(policy, "RetainExceptOnCreate", "{name}: {resource}");
                kept += 1;
            }
        }
    }
    assert!(kept > 5, "{kept}");
    // A bucket with logs in it could not be taken back: there are none before the stack is complete.
    let balancer = only("AWS::ElasticLoadBalancingV2::LoadBalancer");
    assert_eq!(attribute(&balancer, "LoadBalancerAttributes", "access_logs.s3.enabled"), "DeletionProtection");
}

#[test]
fn the_firewall_allows_the_traffic_of_mlflow() {
    let firewall = only("AWS::WAFv2::WebACL");
    let rules = firewall["Rules"].as_array().unwrap();
    let counted: BTreeSet<&str> = rules
        .iter()
        .filter_map(|rule| rule["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"].as_array())
        .flatten()
        .inspect(|one| assert!(one["ActionToUse"]["Count"].is_object(), "{one}"))
        .map(|one| one["Name"].as_str().unwrap())
        .collect();
    // All rules of the two groups that look at bodies, and those that refuse names and values of users.
    let passes = [
        "CrossSiteScripting_BODY",
        "CrossSiteScripting_QUERYARGUMENTS",
        "EC2MetaDataSSRF_BODY",
        "EC2MetaDataSSRF_QUERYARGUMENTS",
        "GenericLFI_BODY",
        "GenericLFI_QUERYARGUMENTS",
        "GenericRFI_BODY",
        "GenericRFI_QUERYARGUMENTS",
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
        "RestrictedExtensions_QUERYARGUMENTS",
        "RestrictedExtensions_URIPATH",
        "SizeRestrictions_BODY",
        "SizeRestrictions_Cookie_HEADER",
        "SizeRestrictions_QUERYSTRING",
        "SizeRestrictions_URIPATH",
    ];
    assert_eq!(counted, BTreeSet::from(passes));

    let rate = rules.iter().find(|rule| rule["Name"] == "too-many-requests").expect("a limit");
    let mut words = Vec::new();
    strings(&rate["Statement"], &mut words);
    assert!(words.iter().any(|word| word == "RateLimit"), "{words:?}");
    assert_eq!(rate["Action"][0], "Limited", "none with RateLimit=0");
    let about = &template("appliance")["Parameters"]["RateLimit"];
    // A loop that logs 50 metrics a second stays below it.
    assert!(about["Default"].as_u64() >= Some(50 * 300) && about["MinValue"] == 0, "{about}");
}
