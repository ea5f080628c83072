//! Checks the quotas of resources of which a new account may have few.

use super::context::{CheckResult, PreflightContext};
use crate::api::account::Quota;
use crate::deploy::templates::StackKind;

/// The processors of all tasks on Fargate together. AWS states the quota without the number in use.
const PROCESSORS: Quota = Quota { title: "processors of tasks on Fargate", service: "fargate", code: "L-3032A538" };

/// Each type of resource that is counted in the templates, and its quota.
const COUNTED: [(&str, Quota); 3] = [
    ("AWS::EC2::VPC", Quota { title: "VPCs", service: "vpc", code: "L-F678F1CE" }),
    ("AWS::EC2::EIP", Quota { title: "elastic IP addresses", service: "ec2", code: "L-0263D0A3" }),
    (
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        Quota { title: "application load balancers", service: "elasticloadbalancing", code: "L-53DA6B97" },
    ),
];

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    tasks(context, &mut report).await;
    let account = &context.settings.account;
    for (kind, quota) in &COUNTED {
        let wanted = context.additions().filter(|resource| resource.r#type == *kind).count();
        if wanted == 0 {
            continue;
        }
        let what = format!("whether the quota allows {wanted} more {}", quota.title);
        let answer = account.quota(quota).await;
        let Some(limit) = report.known(&what, "servicequotas:GetServiceQuota", answer) else { return report };
        let (action, answer) = match *kind {
            "AWS::EC2::VPC" => ("ec2:DescribeVpcs", account.vpcs().await),
            "AWS::EC2::EIP" => ("ec2:DescribeAddresses", account.addresses().await),
            _ => ("elasticloadbalancing:DescribeLoadBalancers", account.load_balancers().await),
        };
        let Some(used) = report.known(&what, action, answer) else { return report };
        judge(quota, wanted, used, limit, context.region(), &mut report);
    }
    report
}

/// The processors of new tasks, of which an update runs twice as many.
async fn tasks(context: PreflightContext<'_>, report: &mut CheckResult) {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let size = context.value("TaskSize").and_then(|size| size.split_once('/'));
    let units = size.and_then(|(units, _)| number(Some(units)));
    let (Some(units), Some(count)) = (units, number(context.value("MinTasks"))) else { return };
    if !context.is_new(StackKind::Fargate) {
        return;
    }
    let answer = context.settings.account.quota(&PROCESSORS).await;
    let what = "whether the quota allows the tasks";
    let Some(limit) = report.known(what, "servicequotas:GetServiceQuota", answer) else { return };
    let wanted = units / 1024.0 * count * 2.0;
    if wanted > limit {
        let Quota { title, service, code } = PROCESSORS;
        let what = format!("{wanted} {title} are needed during an update, and the account may have {limit}");
        let fix = format!(
            "have the quota raised (`aws service-quotas request-service-quota-increase --service-code {service} \
             --quota-code {code} --desired-value {wanted}`), or choose a smaller TaskSize or MinTasks"
        );
        report.found(what, fix);
    }
}

fn judge(quota: &Quota, wanted: usize, used: usize, limit: f64, region: &str, report: &mut CheckResult) {
    #[allow(clippy::cast_precision_loss, reason = "counts of resources are far below 2^52")]
    let is_enough = (used + wanted) as f64 <= limit;
    if !is_enough {
        let Quota { title, service, code } = quota;
        let what =
            format!("{region} has {used} {title} of {limit} that the account may have, and {wanted} more are needed");
        let fix = format!(
            "have the quota raised (`aws service-quotas request-service-quota-increase --service-code {service} \
             --quota-code {code} --desired-value {}`), remove what is not needed, or use what exists (ExistingVpcId)",
            used + wanted
        );
        report.found(what, fix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_below_the_need_is_an_obstacle() {
        let of = |used, limit| {
            let mut report = CheckResult::default();
            judge(&COUNTED[0].1, 1, used, limit, "r", &mut report);
            report.obstacles
        };
        assert!(of(4, 5.0).is_empty() && of(0, f64::INFINITY).is_empty());
        let found = of(5, 5.0);
        assert_eq!(found[0].what, "r has 5 VPCs of 5 that the account may have, and 1 more are needed");
        assert!(found[0].fix.contains("--quota-code L-F678F1CE --desired-value 6`"), "{}", found[0].fix);
    }
}
