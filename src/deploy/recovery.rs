//! Brings a stack that an earlier run has left behind into a state from which it can be updated or created.

use super::error::DeployError;
use super::operation::{delete, finish, wait_until_stable};
use super::prompter::Prompter;
use super::retained;
use super::settings::DeploySettings;
use super::stack::{DEAD, previous};
use super::templates::Template;
use crate::api::cloudformation::{Pairs, Stack};

/// The state of a stack whose update and rollback have failed. Only another rollback is possible.
const STUCK: &str = "UPDATE_ROLLBACK_FAILED";

/// Waits until a stack is stable, rolls back a failed update and removes the remains of a failed creation. Returns the stack,
/// if it still exists, and the values of its parameters, which outlive a removal.
pub(super) async fn recover(
    settings: &DeploySettings<'_>,
    name: &str,
    template: &Template,
    prompter: &mut dyn Prompter,
) -> Result<(Option<Stack>, Pairs), DeployError> {
    let found = settings.cloud.stack(name).await?;
    let Some(stack) = found else { return Ok((None, Pairs::new())) };
    let Some(mut stack) = wait_until_stable(settings, name, stack, template, prompter).await? else {
        return Ok((None, Pairs::new()));
    };
    if stack.stack_status == STUCK {
        roll_back(settings, name, &stack, template, prompter).await?;
        // The rollback has restored the earlier parameter values.
        stack = settings.cloud.stack(name).await?.unwrap_or(stack);
    }
    let previous = previous(Some(&stack));
    if !DEAD.contains(&stack.stack_status.as_str()) {
        return Ok((Some(stack), previous));
    }
    let is_empty = stack.stack_status == "REVIEW_IN_PROGRESS";
    prompter.say(&format!("{name} is {}, left over from a failed creation", stack.stack_status));
    let there = settings.cloud.resources(&stack.stack_id).await?;
    retained::list(&retained::retained(name, template, &there), prompter);
    if !is_empty && !prompter.agrees(&format!("Delete the remains of {name}?")) {
        return Err(DeployError::Declined(name.to_owned()));
    }
    delete(settings, name, &stack, (template, &there), prompter).await?;
    Ok((None, previous))
}

/// Retries the rollback of a stack.
async fn roll_back(
    settings: &DeploySettings<'_>,
    name: &str,
    stack: &Stack,
    template: &Template,
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    prompter.say(&format!("{name} is {STUCK}: an update failed, and so did its rollback"));
    if !prompter.agrees(&format!("Retry the rollback of {name}?")) {
        return Err(DeployError::Declined(name.to_owned()));
    }
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.continue_rollback(name, settings.role.as_deref()).await?;
    match finish(settings, name, &stack.stack_id, since, template.resources.len(), prompter).await {
        // The restored state is the goal here.
        Err(DeployError::Failed { status, .. }) if status == "UPDATE_ROLLBACK_COMPLETE" => Ok(()),
        other => other.map(drop),
    }
}
