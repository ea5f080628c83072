//! `plan`: what `apply` would do.

use super::apply::{DEAD, change_set, new_image, previous, values};
use super::foresee::Prospect;
use super::preflight::preflight;
use super::rules::Known;
use super::templates::Template;
use super::{DeployError, Settings, Talk, diff, foresee};
use crate::api::cloudformation::{Change, ChangeSet, Pairs};

/// What would become of a stack.
pub struct Planned {
    /// What it is called.
    pub stack: String,
    /// What would become of it.
    pub outlook: Outlook,
}

/// What would become of a stack.
pub enum Outlook {
    /// It would be made, of these; those of which that is not sure yet are `Dynamic`.
    New(Vec<Change>),
    /// Nothing would change.
    Same,
    /// This would change, as CloudFormation says.
    Changes(Vec<Change>),
}

/// Shows what `apply` would do. Changes nothing that lasts.
///
/// # Errors
/// [`DeployError`].
pub async fn plan(settings: &mut Settings<'_>, talk: &mut dyn Talk) -> Result<Vec<Planned>, DeployError> {
    let templates = foresee::checked(settings)?;
    let prospects = foresee::foresee(settings, templates, talk).await?;
    let stored = foresee::stored(settings, &prospects, talk).await;
    let (image, missing) = stored.map_or_else(|error| (None, Some(error)), |image| (image, None));
    let findings = preflight(settings, &prospects, image.as_deref(), talk).await;
    let mut outputs = Pairs::new();
    let mut all = Vec::new();
    for Prospect { kind, template, known, .. } in prospects {
        let name = settings.stack(kind);
        let stack = settings.cloud.stack(&name).await?;
        let outlook = match stack.filter(|stack| !DEAD.contains(&stack.stack_status.as_str())) {
            None => {
                let additions = additions(&template, &known);
                talk.say(&format!("{name}: would be made, with {}", counted(additions.len(), "resource")));
                for line in diff::lines(&additions) {
                    talk.show(&line);
                }
                Outlook::New(additions)
            }
            Some(stack) => {
                if let Some(line) = new_image(&name, Some(&stack), image.as_deref()) {
                    talk.say(&line);
                }
                let values = values(settings, &name, &template, &outputs, &previous(Some(&stack)))?;
                let found = change_set(settings, kind, &values, Some(&stack)).await?;
                outputs.extend(stack.outputs);
                match found {
                    None => {
                        talk.say(&format!("{name}: no changes"));
                        Outlook::Same
                    }
                    Some((id, set)) => {
                        show(&name, &set, talk);
                        settings.cloud.delete_change_set(&id).await?;
                        Outlook::Changes(set.changes)
                    }
                }
            }
        };
        all.push(Planned { stack: name, outlook });
    }
    if let Some(missing) = missing {
        let hint = missing.hint().unwrap_or_default();
        talk.say(&format!("warning: `apply` would be refused: {missing}\n  hint: {hint}"));
    }
    if !findings.is_empty() {
        let obstacles = DeployError::Obstacles(findings);
        talk.say(&format!("warning: `apply` would be refused: {obstacles}"));
    }
    Ok(all)
}

/// What a stack would consist of that is not there yet.
fn additions(template: &Template, known: &Pairs) -> Vec<Change> {
    let known = Known { template, values: known };
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

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Shows a change set.
pub(super) fn show(name: &str, set: &ChangeSet, talk: &mut dyn Talk) {
    talk.say(&format!("{name}: {}", counted(set.changes.len(), "change")));
    for line in diff::lines(&set.changes) {
        talk.show(&line);
    }
}
