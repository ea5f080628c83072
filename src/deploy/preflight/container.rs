//! Checks that the image of the container exists, that the tasks on Fargate can reach what they start with, and that ECS has its role.

use super::super::container_image::EcrImage;
use super::context::{CheckResult, PreflightContext};
use crate::deploy::templates::StackKind;

/// The services that ECS calls from the task's subnet before the appliance starts: the parts of their endpoints' names, and the
/// parameters that make them.
const NEEDED: [(&str, &str); 3] =
    [(".ecr.api", "EndpointEcrApi"), (".ecr.dkr", "EndpointEcrDkr"), (".logs", "EndpointLogs")];

/// The role that ECS makes for itself, and uses at once, when an account calls it for the first time.
const ROLE: &str = "AWSServiceRoleForECS";

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    if !context.stacks.iter().any(|stack| stack.kind == StackKind::Fargate) {
        return report;
    }
    role(context, &mut report).await;
    let Some(name) = context.value("ContainerImage") else { return report };
    let image = EcrImage::parse(name);
    reachable(context, image.is_some(), &mut report);
    let Some(image) = image else {
        report.notes.push(format!(
            "preflight cannot look into the registry of {name}: its image has to be for {} and need no credentials",
            context.value("Architecture").unwrap_or_default()
        ));
        return report;
    };
    if image.region != context.region() {
        report.notes.push(format!("preflight does not look into ECR of {}, where {name} is", image.region));
        return report;
    }
    let reference = image.digest.map_or(("imageTag", image.tag.unwrap_or_default()), |digest| ("imageDigest", digest));
    let answer = context.settings.account.has_container_image(image.account, image.repository, reference).await;
    if report.known(&format!("whether {name} exists"), "ecr:DescribeImages", answer) == Some(false) {
        report.found(
            format!("ContainerImage: the registry has no {name}"),
            "push it (docs/deploy/fargate.md says how), or correct the repository or the tag",
        );
    }
    report
}

/// IAM needs some seconds until a new role can be assumed, so the first cluster or service of an account often fails with "Unable
/// to assume the service linked role".
async fn role(context: PreflightContext<'_>, report: &mut CheckResult) {
    if !context.is_new(StackKind::Fargate) {
        return;
    }
    let answer = context.settings.account.role(ROLE).await;
    if report.known(&format!("whether the account has the role {ROLE}"), "iam:GetRole", answer) == Some(None) {
        report.found(
            format!("the account has never used ECS: it lacks the role {ROLE}, and the first call of ECS fails while IAM makes it"),
            "make the role once (`aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com`), and wait a minute",
        );
    }
}

/// In a new VPC without NAT, the tasks reach only endpoints.
fn reachable(context: PreflightContext<'_>, is_in_ecr: bool, report: &mut CheckResult) {
    let is_open = context.value("ExistingVpcId").is_some() || context.value("NatMode") != Some("none");
    if is_open || !context.is_new(StackKind::Networking) {
        return;
    }
    if !is_in_ecr {
        let what = "ContainerImage: without NAT the tasks cannot reach a registry outside of AWS";
        report.found(what.to_owned(), "push the image to ECR, or pass `--parameter NatMode=one`");
        return;
    }
    let has = |part: &str| context.additions().filter_map(|one| one.service.as_deref()).any(|one| one.ends_with(part));
    let missing: Vec<String> =
        NEEDED.iter().filter(|(part, _)| !has(part)).map(|(_, name)| format!("`--parameter {name}=yes`")).collect();
    if !missing.is_empty() {
        let what = "without NAT the tasks on Fargate cannot pull their image and write their log".to_owned();
        report.found(what, format!("pass {}, or `--parameter NatMode=one`", missing.join(", ")));
    }
}
