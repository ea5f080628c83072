//! `plan`: shows what `apply` would do.

use super::change_set::{change_set, show};
use super::diff;
use super::error::DeployError;
use super::parameters::stack_values;
use super::planned_stacks::{PlannedStack, chosen_templates, planned_stacks, stored_image};
use super::preflight;
use super::prompter::Prompter;
use super::rules::KnownValues;
use super::settings::DeploySettings;
use super::stack::{DEAD, new_image, previous};
use super::templates::Template;
use crate::api::cloudformation::{Change, Pairs};
use crate::counted::counted;

/// The plan for one stack.
pub struct StackPlan {
    /// The name of the stack.
    pub stack: String,
    /// The change that `apply` would make.
    pub change: PlannedChange,
}

/// The change that `apply` would make to a stack.
pub enum PlannedChange {
    /// The stack would be created with these resources; a resource is `Dynamic` if that is not certain yet.
    New(Vec<Change>),
    /// Nothing would change.
    Same,
    /// CloudFormation has computed these changes.
    Changes(Vec<Change>),
}

/// Shows what `apply` would do, and changes nothing.
///
/// # Errors
/// [`DeployError`].
pub async fn plan(
    settings: &mut DeploySettings<'_>,
    prompter: &mut dyn Prompter,
) -> Result<Vec<StackPlan>, DeployError> {
    let templates = chosen_templates(settings).await?;
    let stacks = planned_stacks(settings, templates, prompter).await?;
    let stored = stored_image(settings, &stacks, prompter).await;
    let (image, missing) = stored.map_or_else(|error| (None, Some(error)), |image| (image, None));
    let obstacles = Box::pin(preflight::obstacles(settings, &stacks, image.as_deref(), prompter)).await;
    let mut outputs = Pairs::new();
    let mut all = Vec::new();
    for PlannedStack { kind, template, known, .. } in stacks {
        let name = settings.stack(kind);
        let stack = settings.cloud.stack(&name).await?;
        let change = match stack.filter(|stack| !DEAD.contains(&stack.stack_status.as_str())) {
            None => {
                let additions = additions(&template, &known);
                prompter.say(&format!("{name}: would be created, with {}", counted(additions.len(), "resource")));
                for line in diff::lines(&additions) {
                    prompter.show(&line);
                }
                PlannedChange::New(additions)
            }
            Some(stack) => {
                if let Some(line) = new_image(&name, Some(&stack), image.as_deref()) {
                    prompter.say(&line);
                }
                let values = stack_values(&settings.given, &name, &template, &outputs, &previous(Some(&stack)))?;
                let found = change_set(settings, kind, &values, Some(&stack)).await?;
                let planned = match found {
                    None => {
                        prompter.say(&format!("{name}: no changes"));
                        PlannedChange::Same
                    }
                    Some((id, set)) => {
                        show(&name, &set, Some(&stack), prompter);
                        settings.cloud.delete_change_set(&id).await?;
                        PlannedChange::Changes(set.changes)
                    }
                };
                outputs.extend(stack.outputs);
                planned
            }
        };
        all.push(StackPlan { stack: name, change });
    }
    if let Some(missing) = missing {
        let hint = missing.hint().unwrap_or_default();
        prompter.say(&format!("warning: `apply` would fail: {missing}\n  hint: {hint}"));
    }
    if !obstacles.is_empty() {
        let obstacles = DeployError::Obstacles(obstacles);
        prompter.say(&format!("warning: `apply` would fail: {obstacles}"));
    }
    Ok(all)
}

/// Returns the resources of a stack that does not exist yet.
fn additions(template: &Template, known: &Pairs) -> Vec<Change> {
    let known = KnownValues { template, values: known };
    let made = template.resources.iter().filter_map(|(name, resource)| {
        let action = match known.makes(resource) {
            Some(true) => "Add",
            None => "Dynamic",
            Some(false) => return None,
        };
        Some(Change {
            action: action.to_owned(),
            logical_resource_id: name.clone(),
            resource_type: resource.r#type.clone(),
            ..Change::default()
        })
    });
    made.collect()
}
