//! Checks that the instance type is available in each zone.

use std::collections::BTreeSet;

use super::super::templates::StackKind;
use super::context::{CheckResult, PreflightContext};

/// The type that the template takes for an architecture if none is given.
const USUAL: [(&str, &str); 2] = [("arm64", "t4g.small"), ("x86_64", "t3.small")];

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let has_instances = context.stacks.iter().any(|stack| stack.kind == StackKind::Appliance);
    if !has_instances || !(context.is_new(StackKind::Appliance) || context.is_new(StackKind::Networking)) {
        return report;
    }
    let usual = || {
        let architecture = context.value("Architecture")?;
        USUAL.iter().find(|(of, _)| *of == architecture).map(|(_, name)| *name)
    };
    let Some(instance_type) = context.value("InstanceType").or_else(usual) else { return report };
    let Some(zones) = of_the_network(context, &mut report).await else { return report };
    let what = format!("in which zones {instance_type} is available");
    let answer = context.settings.account.zones_with(instance_type).await;
    let Some(offered) = report.known(&what, "ec2:DescribeInstanceTypeOfferings", answer) else { return report };
    for (number, zone) in (1..).zip(zones).filter(|(_, zone)| !offered.contains(*zone)) {
        let others: Vec<&str> = offered.iter().filter(|one| !zones.contains(one)).map(String::as_str).collect();
        let fix = if context.value("ExistingVpcId").is_some() {
            "name subnets of other zones, or another type with `--parameter InstanceType=…`".to_owned()
        } else if others.is_empty() || !context.is_new(StackKind::Networking) {
            "choose another type with `--parameter InstanceType=…`".to_owned()
        } else {
            format!(
                "pass `--parameter AvailabilityZone{number}={}`; it is available in {}",
                others[0],
                others.join(", ")
            )
        };
        report.found(format!("{instance_type} is not available in {zone}, one of the network's zones"), fix);
    }
    report
}

/// Returns the zones of the instances' subnets, in the order of the parameters that name them. Only the first check that needs
/// them asks AWS, and reports the problems.
pub(super) async fn of_the_network<'a>(
    context: PreflightContext<'a>,
    report: &mut CheckResult,
) -> Option<&'a [String]> {
    context.zones.get_or_init(|| asked(context, report)).await.as_deref()
}

async fn asked(context: PreflightContext<'_>, report: &mut CheckResult) -> Option<Vec<String>> {
    let account = &context.settings.account;
    let subnets = context.value("ExistingPrivateSubnetIds").or_else(|| context.value("PrivateSubnetIds"));
    if let Some(subnets) = subnets.filter(|_| context.value("ExistingVpcId").is_some()) {
        let ids: Vec<&str> = subnets.split(',').map(str::trim).collect();
        let answer = account.zones_of(&ids).await;
        let zones = report.known("in which zones the subnets are", "ec2:DescribeSubnets", answer)?;
        return Some(zones.into_iter().collect());
    }
    let count = context.value("Zones").and_then(|text| text.parse().ok()).unwrap_or(2);
    let named: Vec<Option<String>> =
        (1..=count).map(|number| context.value(&format!("AvailabilityZone{number}")).map(ToOwned::to_owned)).collect();
    let all: BTreeSet<String> = if named.contains(&None) {
        report.known("which zones there are", "ec2:DescribeAvailabilityZones", account.zones().await)?
    } else {
        BTreeSet::new()
    };
    let all: Vec<String> = all.into_iter().collect();
    if named.contains(&None) && all.len() < count {
        let what = format!("the network wants {count} zones, and {} shows {}", context.region(), all.len());
        report.found(what, "pass `--parameter Zones=2`, or name each zone with `--parameter AvailabilityZone1=…`");
        return None;
    }
    let chosen = named.into_iter().enumerate().map(|(at, named)| named.or_else(|| all.get(at).cloned()));
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_types_are_those_of_the_template() {
        let template = include_str!("../../../infra/appliance.yaml");
        assert!(template.contains(&format!("!If [Arm, {}, {}]", USUAL[0].1, USUAL[1].1)));
    }
}
