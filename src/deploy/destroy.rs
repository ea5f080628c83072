//! `destroy`: a mode's stacks, and the shared ones if nobody else needs them.

use super::apply::{PROTECTION, compute, execute};
use super::templates::{Kind, Resource};
use super::{DeployError, Settings, Talk, delete, rested};
use crate::api::cloudformation::Stack;

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
    if doomed.is_empty() {
        talk.say("there is nothing to remove");
        return Ok(());
    }
    let mut kept = Vec::new();
    for (kind, stack) in &doomed {
        let template = kind.template();
        for resource in settings.cloud.resources(&stack.stack_id).await? {
            let is_kept = template.resources.get(&resource.logical_resource_id).is_some_and(Resource::is_kept);
            if is_kept && !resource.resource_status.starts_with("DELETE") {
                let physical = resource.physical_resource_id.unwrap_or_default();
                kept.push(format!("  {} {physical} ({})", resource.resource_type, settings.stack(*kind)));
            }
        }
    }
    for (kind, _) in &doomed {
        talk.say(&format!("- {}", settings.stack(*kind)));
    }
    if !kept.is_empty() {
        talk.say("These are kept, with what is in them; they cost something until you remove them yourself:");
        for line in &kept {
            talk.say(line);
        }
    }
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
    let mut parameters = stack.parameters.clone();
    // In other states a stack can only be deleted.
    let can_change = stack.stack_status.ends_with("_COMPLETE") && stack.stack_status != "ROLLBACK_COMPLETE";
    if can_change && parameters.get(PROTECTION).is_some_and(|value| value == "true") {
        talk.say(&format!("{name}: first its load balancer has to let itself be deleted"));
        parameters.insert(PROTECTION.to_owned(), "false".to_owned());
        if let Some((id, set)) = compute(settings, &name, None, &parameters, false).await? {
            execute(settings, &name, (&id, &set), talk).await?;
        }
    }
    delete(settings, &name, &stack, &template, talk).await?;
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
