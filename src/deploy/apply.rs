//! `apply`: creates or updates one stack after the other.

use std::collections::BTreeMap;

use super::change_set::{change_set, computed, execute, show};
use super::chosen_compute;
use super::error::DeployError;
use super::parameters::{ParameterOrigin, ParameterValue, stack_values};
use super::planned_stacks::{PlannedStack, chosen_templates, planned_stacks, stored_image};
use super::preflight;
use super::prompter::Prompter;
use super::recovery::recover;
use super::settings::DeploySettings;
use super::stack::{PROTECTION, new_image};
use super::templates::Template;
use crate::api::cloudformation::{ChangeSet, Pairs, Stack};

/// Creates or updates the stacks, one after the other, and returns the outputs of all.
///
/// # Errors
/// [`DeployError`]; the command can be run again.
pub async fn apply(settings: &mut DeploySettings<'_>, prompter: &mut dyn Prompter) -> Result<Pairs, DeployError> {
    let templates = chosen_templates(settings).await?;
    let stacks = planned_stacks(settings, templates, prompter).await?;
    let image = stored_image(settings, &stacks, prompter).await?;
    let obstacles = Box::pin(preflight::obstacles(settings, &stacks, image.as_deref(), prompter)).await;
    if !obstacles.is_empty() {
        return Err(DeployError::Obstacles(obstacles));
    }
    let mut outputs = Pairs::new();
    for PlannedStack { kind, template, .. } in stacks {
        let name = settings.stack(kind);
        let (before, mut previous) = recover(settings, &name, &template, prompter).await?;
        if before.is_none() && previous.is_empty() {
            previous = chosen_compute::inherited(settings, kind, &template).await?;
        }
        let mut values = stack_values(&settings.given, &name, &template, &outputs, &previous)?;
        // A protected load balancer would block the rollback of a failed creation, so protection is enabled last.
        let protection = values.get_mut(PROTECTION).filter(|value| before.is_none() && value.text == "true");
        let is_protected_later = protection.map(|value| "false".clone_into(&mut value.text)).is_some();
        if let Some(line) = new_image(&name, before.as_ref(), image.as_deref()) {
            prompter.say(&line);
        }
        match change_set(settings, kind, &values, before.as_ref()).await? {
            None => prompter.say(&format!("{name}: no changes")),
            Some((id, set)) => {
                change(settings, &name, (&id, &set), &values, before.as_ref(), &template, prompter).await?;
            }
        }
        let mut after = settings.cloud.stack(&name).await?.unwrap_or_default();
        if is_protected_later {
            after.parameters.insert(PROTECTION.to_owned(), "true".to_owned());
            if let Some((id, set)) = computed(settings, &name, None, &after.parameters, Some(&after)).await? {
                prompter.say(&format!("{name}: enabling the deletion protection of its load balancer"));
                execute(settings, &name, (&id, &set), prompter).await?;
            }
        }
        if !after.enable_termination_protection {
            settings.cloud.protect(&name, true).await?;
            prompter.say(&format!("{name}: termination protection is on; only `appliance deploy destroy` deletes it"));
            for step in next_steps(&values, &after.outputs) {
                prompter.say(&step);
            }
            if let Some(step) = chosen_compute::next_step(settings, kind).await? {
                prompter.say(&step);
            }
        }
        outputs.extend(after.outputs);
    }
    Ok(outputs)
}

/// Returns the steps that a person has to do after a stack was created for the first time.
fn next_steps(values: &BTreeMap<String, ParameterValue>, outputs: &Pairs) -> Vec<String> {
    let mut steps = Vec::new();
    let domain = values.get("DomainName").filter(|domain| !domain.text.is_empty());
    if let (Some(domain), Some(balancer)) = (domain, outputs.get("LoadBalancerDnsName")) {
        steps.push(format!("next: point the name {} at {balancer} with an alias or CNAME record", domain.text));
    }
    if let Some(secret) = outputs.get("TokenSecretArn") {
        steps.push(format!(
            "next: create a token, because every caller is rejected until there is one:\n  \
             appliance token new --file secretsmanager:{secret} --name ci --role write"
        ));
    }
    steps
}

/// Shows a change set, asks for consent, and executes it.
async fn change(
    settings: &DeploySettings<'_>,
    name: &str,
    (id, set): (&str, &ChangeSet),
    values: &BTreeMap<String, ParameterValue>,
    before: Option<&Stack>,
    template: &Template,
    prompter: &mut dyn Prompter,
) -> Result<(), DeployError> {
    show(name, set, before, prompter);
    for (key, value) in
        values.iter().filter(|(_, value)| matches!(value.origin, ParameterOrigin::Given | ParameterOrigin::Output))
    {
        let is_secret = template.parameters.get(key).is_some_and(|parameter| parameter.no_echo);
        let text = if is_secret { "(not shown)" } else { &value.text };
        prompter.say(&format!("  {key} = {text} ({})", value.origin));
    }
    if !prompter.agrees(&format!("Apply these changes to {name}?")) {
        settings.cloud.delete_change_set(id).await?;
        if before.is_none() {
            // A declined change set leaves an empty stack in the state `REVIEW_IN_PROGRESS`.
            settings.cloud.delete(name, settings.role.as_deref()).await?;
        }
        return Err(DeployError::Declined(name.to_owned()));
    }
    execute(settings, name, (id, set), prompter).await
}
