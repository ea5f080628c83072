//! Facts about a stack that exists: whether its creation failed, and the values and the image that it has.

use crate::api::cloudformation::{Change, Pairs, Stack};

/// A stack in one of these states was never created, and can only be deleted.
pub(super) const DEAD: [&str; 5] =
    ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"];

/// The parameter that enables the deletion protection of the load balancer.
pub(super) const PROTECTION: &str = "DeletionProtection";

/// The resource type of the load balancer, which has a deletion protection of its own.
pub(super) const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";

/// Returns the values that a stack's parameters have. Deletion protection is left out as long as the stack itself has no
/// termination protection: a creation begins without it, and one that was interrupted has yet to enable it.
pub(super) fn previous(stack: Option<&Stack>) -> Pairs {
    let mut values = stack.map(|stack| stack.parameters.clone()).unwrap_or_default();
    if stack.is_some_and(|stack| !stack.enable_termination_protection) {
        values.remove(PROTECTION);
    }
    values
}

/// Returns a line about a new image, if the Parameter Store names another one than the instances of a stack have:
/// CloudFormation reads the parameter anew at each update, however small.
pub(super) fn new_image(name: &str, before: Option<&Stack>, image: Option<&str>) -> Option<String> {
    let (old, new) = (before?.resolved.values().find(|value| value.starts_with("ami-"))?, image?);
    (old != new).then(|| {
        format!("{name}: any change replaces its instances one by one, because the image was {old} and is now {new}")
    })
}

/// Returns a warning if these changes replace a load balancer that has deletion protection. CloudFormation then creates the new
/// one, cannot delete the old one, and leaves it behind.
pub(super) fn protected_balancer(stack: Option<&Stack>, changes: &[Change]) -> Option<String> {
    let is_protected = stack?.parameters.get(PROTECTION).is_some_and(|value| value == "true");
    let replaces = |change: &&Change| {
        change.resource_type == BALANCER && matches!(change.replacement.as_deref(), Some("True" | "Conditional"))
    };
    let replaced = changes.iter().find(replaces).filter(|_| is_protected)?;
    Some(format!(
        "warning: this update replaces {}, but deletion protection keeps CloudFormation from deleting the old one, which then \
         goes on costing money: first run an update that only sets `--parameter {PROTECTION}=false`",
        replaced.logical_resource_id
    ))
}
