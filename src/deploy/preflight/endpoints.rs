//! Checks that the VPC endpoints can be created: the region offers them in these zones, and the VPC has none of them yet.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{CheckResult, PreflightContext};
use super::zones::of_the_network;

/// The region in the name of a service, as the templates write it.
const REGION: &str = "${AWS::Region}";

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let services = context.additions().filter_map(|resource| resource.service.as_deref());
    let services: BTreeSet<String> = services.map(|name| name.replace(REGION, context.region())).collect();
    if services.is_empty() {
        return report;
    }
    if let Some(vpc) = context.value("ExistingVpcId") {
        conflicts(context, vpc, &services, &mut report).await;
    }
    let interfaces: Vec<&str> = services.iter().filter(|name| !is_gateway(name)).map(String::as_str).collect();
    if interfaces.is_empty() {
        return report;
    }
    let answer = context.settings.account.endpoint_services(&interfaces).await;
    let what = "which VPC endpoints this region has";
    let Some(offered) = report.known(what, "ec2:DescribeVpcEndpointServices", answer) else { return report };
    let zones = of_the_network(context, &mut report).await.unwrap_or_default();
    missing(&interfaces, &offered, zones, context.region(), &mut report);
    report
}

fn is_gateway(service: &str) -> bool {
    service.rsplit('.').next() == Some("s3")
}

fn missing(
    wanted: &[&str],
    offered: &BTreeMap<String, BTreeSet<String>>,
    zones: &[String],
    region: &str,
    report: &mut CheckResult,
) {
    for service in wanted {
        let Some(there) = offered.get(*service) else {
            let fix = "turn that endpoint off with the parameter of its service, as in `--parameter EndpointSts=no` for STS, and use NAT for the service";
            report.found(format!("{region} has no VPC endpoint for {service}"), fix);
            continue;
        };
        let without: Vec<&str> = zones.iter().filter(|zone| !there.contains(*zone)).map(String::as_str).collect();
        if !without.is_empty() {
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            let what = format!("the VPC endpoint for {service} is not available in {}", without.join(", "));
            let fix = format!(
                "choose zones with `--parameter AvailabilityZone1=…` and so on, or other subnets; it is available in {}",
                there.join(", ")
            );
            report.found(what, fix);
        }
    }
}

async fn conflicts(context: PreflightContext<'_>, vpc: &str, services: &BTreeSet<String>, report: &mut CheckResult) {
    let answer = context.settings.account.vpc_endpoints(vpc).await;
    let Some(there) = report.known("which endpoints the VPC has", "ec2:DescribeVpcEndpoints", answer) else { return };
    let tables = context.value("ExistingRouteTableIds").unwrap_or_default();
    for endpoint in there.iter().filter(|endpoint| services.contains(&endpoint.service)) {
        let (id, service) = (&endpoint.id, &endpoint.service);
        if endpoint.has_private_name {
            report.found(
                format!("{vpc} has the endpoint {id} for {service} already, and a service's own name leads to one only"),
                "turn the new endpoint off with the parameter of its service, as in `--parameter EndpointSts=no` for STS; the instances then use the endpoint that the VPC already has",
            );
        }
        if let Some(table) = tables.split(',').map(str::trim).find(|table| endpoint.route_tables.contains(*table)) {
            report.found(
                format!("{vpc} has the gateway {id} for {service} already, and the route table {table} leads to it"),
                "leave that route table out of `--parameter ExistingRouteTableIds=…`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_compared_with_the_zones() {
        let zones = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let offered = BTreeMap::from([("sts".to_owned(), zones(&["a", "b"])), ("ssm".to_owned(), zones(&["a"]))]);
        let mut report = CheckResult::default();
        missing(&["sts", "ssm", "studio"], &offered, &["a".to_owned(), "b".to_owned()], "r", &mut report);
        let found: Vec<&str> = report.obstacles.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(found, ["the VPC endpoint for ssm is not available in b", "r has no VPC endpoint for studio"]);
    }
}
