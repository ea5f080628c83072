//! `destroy`: a mode's stacks, and the shared ones if nobody else needs them. No stack is updated on the way.

use super::templates::Kind;
use super::{DeployError, Settings, Talk, delete, kept, rested};
use crate::api::cloudformation::Stack;

/// The type of what protects itself.
const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";

/// Removes stacks, the last first; says what is kept.
///
/// # Errors
/// [`DeployError`]; it can be run again.
pub async fn destroy(settings: &Settings<'_>, is_shared_too: bool, talk: &mut dyn Talk) -> Result<(), DeployError> {
    let mut doomed = Vec::new();
    for kind in Kind::ALL.into_iter().rev().filter(|kind| is_shared_too || !kind.is_shared()) {
        if let Some(stack) = settings.cloud.stack(&settings.stack(kind)).await? {
            if kind.is_shared() {
                refuse_if_needed(settings, kind).await?;
            }
            doomed.push((kind, stack));
        }
    }
    let mut kept = kept::left_over(settings, talk).await?;
    for (kind, stack) in &doomed {
        let there = settings.cloud.resources(&stack.stack_id).await?;
        kept.extend(kept::of(&settings.stack(*kind), &kind.template(), &there));
    }
    if doomed.is_empty() {
        talk.say("there is nothing to remove");
        kept::tell(&kept, talk);
        return Ok(());
    }
    for (kind, _) in &doomed {
        talk.say(&format!("- {}", settings.stack(*kind)));
    }
    kept::tell(&kept, talk);
    if !talk.agrees("Remove these stacks?") {
        return Err(DeployError::Declined("removing them".to_owned()));
    }
    for (kind, stack) in doomed {
        remove(settings, kind, stack, talk).await?;
    }
    Ok(())
}

async fn remove(settings: &Settings<'_>, kind: Kind, stack: Stack, talk: &mut dyn Talk) -> Result<(), DeployError> {
    let (name, template) = (settings.stack(kind), kind.template());
    let Some(stack) = rested(settings, &name, stack, &template, talk).await? else {
        talk.say(&format!("{name}: removed"));
        return Ok(());
    };
    let there = settings.cloud.resources(&stack.stack_id).await?;
    let balancers =
        there.iter().filter(|one| one.resource_type == BALANCER && one.resource_status != "DELETE_COMPLETE");
    for balancer in balancers.filter_map(|one| one.physical_resource_id.as_deref()) {
        talk.say(&format!("{name}: first its load balancer has to let itself be deleted"));
        settings.account.unprotect(balancer).await?;
    }
    delete(settings, &name, &stack, (&template, &there), talk).await?;
    talk.say(&format!("{name}: removed"));
    Ok(())
}

/// The other mode has stacks that use a shared one.
async fn refuse_if_needed(settings: &Settings<'_>, shared: Kind) -> Result<(), DeployError> {
    for kind in [Kind::Appliance, Kind::Mlflow] {
        let user = settings.stack_of(kind, settings.mode.other());
        if settings.cloud.stack(&user).await?.is_some_and(|stack| stack.stack_status != "REVIEW_IN_PROGRESS") {
            return Err(DeployError::Needed { shared: settings.stack(shared), user });
        }
    }
    Ok(())
}
