//! `destroy`: deletes a mode's stacks, or those of one kind of compute, and the shared ones if nothing else needs them. It updates no
//! stack on the way.

use super::compute::Compute;
use super::error::DeployError;
use super::operation::{delete, wait_until_stable};
use super::prompter::Prompter;
use super::retained;
use super::settings::DeploySettings;
use super::stack::BALANCER;
use super::templates::StackKind;
use crate::api::cloudformation::Stack;

/// Deletes stacks, the last first, and names the resources that are kept.
///
/// # Errors
/// [`DeployError`]; the command can be run again.
pub async fn destroy(
    settings: &DeploySettings<'_>,
    is_shared_too: bool,
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    let mut doomed = Vec::new();
    let user = other_compute(settings).await?;
    let wanted = |kind: &StackKind| match Compute::of(*kind) {
        Some(compute) => settings.compute.is_none_or(|chosen| chosen == compute),
        None => is_shared_too || !kind.is_shared(),
    };
    for kind in StackKind::ALL.into_iter().rev().filter(wanted) {
        if let Some(stack) = settings.cloud.stack(&settings.stack(kind)).await? {
            match &user {
                Some(user) if kind.is_shared() => {
                    return Err(DeployError::Needed { shared: settings.stack(kind), user: user.clone() });
                }
                Some(user) if Compute::of(kind).is_none() => {
                    prompter.say(&format!("{} is kept, because {user} needs it", settings.stack(kind)));
                    continue;
                }
                _ if kind.is_shared() => refuse_if_needed(settings, kind).await?,
                _ => {}
            }
            doomed.push((kind, stack));
        }
    }
    let mut kept = retained::left_over(settings, prompter).await?;
    for (kind, stack) in &doomed {
        let there = settings.cloud.resources(&stack.stack_id).await?;
        kept.extend(retained::retained(&settings.stack(*kind), &kind.template(), &there));
    }
    if doomed.is_empty() {
        prompter.say("there is nothing to remove");
        retained::list(&kept, prompter);
        return Ok(());
    }
    for (kind, _) in &doomed {
        prompter.say(&format!("- {}", settings.stack(*kind)));
    }
    retained::list(&kept, prompter);
    if !prompter.agrees("Remove these stacks?") {
        return Err(DeployError::Declined("the removal".to_owned()));
    }
    for (kind, stack) in doomed {
        remove(settings, kind, stack, prompter).await?;
    }
    Ok(())
}

async fn remove(
    settings: &DeploySettings<'_>,
    kind: StackKind,
    stack: Stack,
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    let (name, template) = (settings.stack(kind), kind.template());
    let Some(stack) = wait_until_stable(settings, &name, stack, &template, prompter).await? else {
        prompter.say(&format!("{name}: removed"));
        return Ok(());
    };
    let there = settings.cloud.resources(&stack.stack_id).await?;
    let balancers =
        there.iter().filter(|one| one.resource_type == BALANCER && one.resource_status != "DELETE_COMPLETE");
    for balancer in balancers.filter_map(|one| one.physical_resource_id.as_deref()) {
        prompter.say(&format!("{name}: disabling the deletion protection of its load balancer"));
        settings.account.unprotect(balancer).await?;
    }
    delete(settings, &name, &stack, (&template, &there), prompter).await?;
    prompter.say(&format!("{name}: removed"));
    Ok(())
}

/// Returns the stack of the kind of compute that is not deleted, if there is one.
async fn other_compute(settings: &DeploySettings<'_>) -> Result<Option<String>, DeployError> {
    let Some(other) = settings.compute.map(Compute::other) else { return Ok(None) };
    let name = settings.stack(other.stack());
    Ok(settings.cloud.stack(&name).await?.filter(|stack| stack.stack_status != "REVIEW_IN_PROGRESS").map(|_| name))
}

/// Fails if the other mode has stacks that use a shared one.
async fn refuse_if_needed(settings: &DeploySettings<'_>, shared: StackKind) -> Result<(), DeployError> {
    for kind in [StackKind::Appliance, StackKind::Fargate, StackKind::Mlflow] {
        let user = settings.stack_of(kind, settings.mode.other());
        if settings.cloud.stack(&user).await?.is_some_and(|stack| stack.stack_status != "REVIEW_IN_PROGRESS") {
            return Err(DeployError::Needed { shared: settings.stack(shared), user });
        }
    }
    Ok(())
}
