//! Operations on a stack, followed to their end and turned into a result.

use super::error::DeployError;
use super::prompter::Prompter;
use super::settings::DeploySettings;
use super::templates::Template;
use super::{retained, watch};
use crate::api::cloudformation::{Stack, StackResource};

/// Waits until no operation runs on a stack. Returns nothing if the operation has deleted it.
pub(super) async fn wait_until_stable(
    settings: &DeploySettings<'_>,
    name: &str,
    stack: Stack,
    template: &Template,
    prompter: &mut dyn Prompter,
) -> Result<Option<Stack>, DeployError> {
    if !stack.stack_status.ends_with("_IN_PROGRESS") || stack.stack_status == "REVIEW_IN_PROGRESS" {
        return Ok(Some(stack));
    }
    prompter.say(&format!("{name} is {}: waiting for that operation first", stack.stack_status));
    match finish(settings, name, &stack.stack_id, None, template.resources.len(), prompter).await {
        // The caller looks at the status that the operation ended with.
        Ok(_) | Err(DeployError::Failed { .. }) => Ok(settings.cloud.stack(name).await?),
        Err(error) => Err(error),
    }
}

/// Deletes a stack, which may be protected and has these resources, and follows the deletion to its end.
pub(super) async fn delete(
    settings: &DeploySettings<'_>,
    name: &str,
    stack: &Stack,
    (template, there): (&Template, &[StackResource]),
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    if stack.enable_termination_protection {
        settings.cloud.protect(name, false).await?;
    }
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.delete(name, settings.role.as_deref()).await?;
    let count = there.iter().filter(|resource| retained::is_retained(template, resource) == Some(false)).count();
    finish(settings, name, &stack.stack_id, since, count, prompter).await.map(drop)
}

/// Follows an operation to its end, and returns the status that it ended with.
pub(super) async fn finish(
    settings: &DeploySettings<'_>,
    name: &str,
    id: &str,
    since: Option<String>,
    of: usize,
    prompter: &mut dyn Prompter,
) -> Result<String, DeployError> {
    let mut show = |progress: watch::StackProgress<'_>| match progress {
        watch::StackProgress::Event(event, took, done) => prompter.event(event, took, done, of),
        watch::StackProgress::Quiet(what) => prompter.say(&format!("  … AWS is still working on {what}")),
    };
    match watch::follow(&settings.cloud, id, since, settings.deadline, &mut show).await? {
        watch::OperationEnd::Complete(status) => Ok(status),
        watch::OperationEnd::Late(status) => Err(DeployError::Late { stack: name.to_owned(), status }),
        watch::OperationEnd::Failed { status, cause } => {
            let reason = cause.as_ref().and_then(|event| event.resource_status_reason.clone()).unwrap_or_default();
            let hint = watch::hint(&reason);
            let cause = cause.map_or_else(
                || "its events name no cause".to_owned(),
                |event| {
                    let kind = event.resource_type.unwrap_or_default();
                    format!("{} ({kind}) {}: {reason}", event.logical_resource_id, event.resource_status)
                },
            );
            Err(DeployError::Failed { stack: name.to_owned(), status, cause, hint })
        }
    }
}
