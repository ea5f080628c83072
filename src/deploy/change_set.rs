//! Change sets: CloudFormation computes what would change, a person reads it, and it is executed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::error::DeployError;
use super::operation::finish;
use super::parameters::ParameterValue;
use super::prompter::Prompter;
use super::settings::DeploySettings;
use super::stack::protected_balancer;
use super::templates::StackKind;
use super::{diff, tags};
use crate::api::cloudformation::{ChangeSet, ChangeSetRequest, Pairs, Stack};
use crate::clock;
use crate::counted::counted;

/// The interval between two questions whether the changes have been computed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Returns the id of a change set and the changes in it, or nothing if nothing would change.
pub(super) async fn change_set(
    settings: &DeploySettings<'_>,
    kind: StackKind,
    values: &BTreeMap<String, ParameterValue>,
    before: Option<&Stack>,
) -> Result<Option<(String, ChangeSet)>, DeployError> {
    let parameters: Pairs = values.iter().map(|(key, value)| (key.clone(), value.text.clone())).collect();
    computed(settings, &settings.stack(kind), Some(&kind.text()), &parameters, before).await
}

/// Returns a change set once CloudFormation has computed it. Without a template, the stack keeps its own.
pub(super) async fn computed(
    settings: &DeploySettings<'_>,
    stack: &str,
    template: Option<&str>,
    parameters: &Pairs,
    before: Option<&Stack>,
) -> Result<Option<(String, ChangeSet)>, DeployError> {
    let (tags, role, is_new) = (tags::of(settings, before), settings.role.as_deref(), before.is_none());
    let wish = ChangeSetRequest { stack, name: &token(), is_new, template, parameters, tags: &tags, role };
    let id = settings.cloud.create_change_set(&wish).await?;
    loop {
        let set = settings.cloud.change_set(&id).await?;
        let reason = set.reason.clone().unwrap_or_default();
        match set.status.as_str() {
            "CREATE_COMPLETE" => return Ok(Some((id, set))),
            "FAILED"
                if reason.contains("didn't contain changes") || reason.contains("No updates are to be performed") =>
            {
                settings.cloud.delete_change_set(&id).await?;
                return Ok(None);
            }
            "FAILED" => {
                // Only the change set has the details. Without the permission to read them, the reason alone has to do.
                let problems = settings.cloud.problems(&id).await.unwrap_or_default();
                settings.cloud.delete_change_set(&id).await?;
                if is_new {
                    settings.cloud.delete(stack, role).await?;
                }
                let reason = [vec![reason], problems].concat().join("\n  ");
                return Err(DeployError::ChangeSet { stack: stack.to_owned(), reason });
            }
            _ if Instant::now() >= settings.deadline => {
                let status = format!("computing the changes ({})", set.status);
                return Err(DeployError::Late { stack: stack.to_owned(), status });
            }
            _ => sleep(INTERVAL).await,
        }
    }
}

/// Shows a change set.
pub(super) fn show(name: &str, set: &ChangeSet, before: Option<&Stack>, prompter: &mut dyn Prompter) {
    prompter.say(&format!("{name}: {}", counted(set.changes.len(), "change")));
    for line in diff::lines(&set.changes) {
        prompter.show(&line);
    }
    if let Some(warning) = protected_balancer(before, &set.changes) {
        prompter.say(&warning);
    }
}

/// Executes a change set and shows its progress.
pub(super) async fn execute(
    settings: &DeploySettings<'_>,
    name: &str,
    (id, set): (&str, &ChangeSet),
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    let stack = settings.cloud.stack(name).await?.unwrap_or_default();
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.execute(id, &token()).await?;
    prompter.say("  AWS is working; Ctrl-C only stops watching, and the same command resumes it");
    let status = finish(settings, name, &stack.stack_id, since, set.changes.len(), prompter).await?;
    prompter.say(&format!("{name}: {status}"));
    Ok(())
}

/// Returns a unique text that can be the name of a change set.
fn token() -> String {
    let now = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("appliance-{}-{:09}", now.as_secs(), now.subsec_nanos())
}
