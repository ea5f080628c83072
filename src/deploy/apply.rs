//! `apply`: each stack, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::foresee::Prospect;
use super::parameters::{Origin, Sources, Value};
use super::plan::show;
use super::preflight::preflight;
use super::templates::{Kind, Template};
use super::{DeployError, Settings, Talk, delete, finish, foresee, kept, rested, tags};
use crate::api::cloudformation::{ChangeSet, ChangeSetRequest, Pairs, Stack};
use crate::clock;

/// How often it is asked whether the changes have been computed.
const INTERVAL: Duration = Duration::from_secs(1);
/// In these, a stack that never was can only be deleted.
pub(super) const DEAD: [&str; 5] =
    ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"];
/// In this, it can only be let go back to what it was.
const STUCK: &str = "UPDATE_ROLLBACK_FAILED";
/// The parameter by which the load balancer keeps itself from being deleted.
pub(super) const PROTECTION: &str = "DeletionProtection";

/// Makes or changes the stacks, one after the other; the outputs of all.
///
/// # Errors
/// [`DeployError`]; it can be run again.
pub async fn apply(settings: &mut Settings<'_>, talk: &mut dyn Talk) -> Result<Pairs, DeployError> {
    let templates = foresee::checked(settings)?;
    let prospects = foresee::foresee(settings, templates, talk).await?;
    let image = foresee::stored(settings, &prospects, talk).await?;
    let findings = Box::pin(preflight(settings, &prospects, image.as_deref(), talk)).await;
    if !findings.is_empty() {
        return Err(DeployError::Obstacles(findings));
    }
    let mut outputs = Pairs::new();
    for Prospect { kind, template, .. } in prospects {
        let name = settings.stack(kind);
        let (before, previous) = settled(settings, &name, &template, talk).await?;
        let mut values = values(settings, &name, &template, &outputs, &previous)?;
        // A start that fails could not be undone otherwise: so protection comes last.
        let protection = values.get_mut(PROTECTION).filter(|value| before.is_none() && value.text == "true");
        let is_protected_later = protection.map(|value| "false".clone_into(&mut value.text)).is_some();
        if let Some(line) = new_image(&name, before.as_ref(), image.as_deref()) {
            talk.say(&line);
        }
        match change_set(settings, kind, &values, before.as_ref()).await? {
            None => talk.say(&format!("{name}: no changes")),
            Some((id, set)) => {
                change(settings, &name, (&id, &set), &values, before.as_ref(), &template, talk).await?;
            }
        }
        let mut after = settings.cloud.stack(&name).await?.unwrap_or_default();
        if is_protected_later {
            after.parameters.insert(PROTECTION.to_owned(), "true".to_owned());
            if let Some((id, set)) = compute(settings, &name, None, &after.parameters, Some(&after)).await? {
                talk.say(&format!("{name}: now its load balancer keeps itself from being deleted"));
                execute(settings, &name, (&id, &set), talk).await?;
            }
        }
        if !after.enable_termination_protection {
            settings.cloud.protect(&name, true).await?;
            talk.say(&format!("{name}: protected from being deleted but by `appliance deploy destroy`"));
            for step in next_steps(&values, &after.outputs) {
                talk.say(&step);
            }
        }
        outputs.extend(after.outputs);
    }
    Ok(outputs)
}

/// Returns a line that tells of a new image, if the Parameter Store names another one than the instances of a stack have:
/// CloudFormation reads the parameter anew at each update, however small.
pub(super) fn new_image(name: &str, before: Option<&Stack>, image: Option<&str>) -> Option<String> {
    let (old, new) = (before?.resolved.values().find(|value| value.starts_with("ami-"))?, image?);
    (old != new).then(|| {
        format!("{name}: any change replaces its instances, one after the other: the image was {old}, and is now {new}")
    })
}

/// What is left to people once a stack is there for the first time.
fn next_steps(values: &BTreeMap<String, Value>, outputs: &Pairs) -> Vec<String> {
    let mut steps = Vec::new();
    let domain = values.get("DomainName").filter(|domain| !domain.text.is_empty());
    if let (Some(domain), Some(balancer)) = (domain, outputs.get("LoadBalancerDnsName")) {
        steps.push(format!("next: let the name {} point at {balancer}, with an alias or CNAME record", domain.text));
    }
    if let Some(secret) = outputs.get("TokenSecretArn") {
        steps.push(format!("next: nobody is let in before there is a token in {secret} (infra/README.md shows how)"));
    }
    steps
}

/// Shows a change set, asks, and does what it says.
async fn change(
    settings: &Settings<'_>,
    name: &str,
    (id, set): (&str, &ChangeSet),
    values: &BTreeMap<String, Value>,
    before: Option<&Stack>,
    template: &Template,
    talk: &mut dyn Talk,
) -> Result<(), DeployError> {
    show(name, set, talk);
    for (key, value) in values.iter().filter(|(_, value)| matches!(value.origin, Origin::Given | Origin::Output)) {
        let is_secret = template.parameters.get(key).is_some_and(|parameter| parameter.no_echo);
        let text = if is_secret { "(not shown)" } else { &value.text };
        talk.say(&format!("  {key} = {text} ({})", value.origin));
    }
    if !talk.agrees(&format!("Do this to {name}?")) {
        settings.cloud.delete_change_set(id).await?;
        if before.is_none() {
            // What is left of a stack that never was.
            settings.cloud.delete(name, settings.role.as_deref()).await?;
        }
        return Err(DeployError::Declined(name.to_owned()));
    }
    execute(settings, name, (id, set), talk).await
}

/// The stack, once nothing happens to it any more, and without what is left of one that never was; and the values of
/// its parameters, which outlive that.
async fn settled(
    settings: &Settings<'_>,
    name: &str,
    template: &Template,
    talk: &mut dyn Talk,
) -> Result<(Option<Stack>, Pairs), DeployError> {
    let found = settings.cloud.stack(name).await?;
    let Some(stack) = found else { return Ok((None, Pairs::new())) };
    let Some(mut stack) = rested(settings, name, stack, template, talk).await? else { return Ok((None, Pairs::new())) };
    if stack.stack_status == STUCK {
        unstick(settings, name, &stack, template, talk).await?;
        // What it was is what it has the values of.
        stack = settings.cloud.stack(name).await?.unwrap_or(stack);
    }
    let previous = previous(Some(&stack));
    if !DEAD.contains(&stack.stack_status.as_str()) {
        return Ok((Some(stack), previous));
    }
    let is_empty = stack.stack_status == "REVIEW_IN_PROGRESS";
    talk.say(&format!("{name} is {}, left over from a start that did not succeed", stack.stack_status));
    let there = settings.cloud.resources(&stack.stack_id).await?;
    kept::tell(&kept::of(name, template, &there), talk);
    if !is_empty && !talk.agrees(&format!("Remove what is left of {name}?")) {
        return Err(DeployError::Declined(name.to_owned()));
    }
    delete(settings, name, &stack, (template, &there), talk).await?;
    Ok((None, previous))
}

/// Lets a stack that could not go back to what it was try that again.
async fn unstick(
    settings: &Settings<'_>,
    name: &str,
    stack: &Stack,
    template: &Template,
    talk: &mut dyn Talk,
) -> Result<(), DeployError> {
    talk.say(&format!("{name} is {STUCK}: an update failed, and then the way back"));
    if !talk.agrees(&format!("Let {name} try again to go back?")) {
        return Err(DeployError::Declined(name.to_owned()));
    }
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.continue_rollback(name, settings.role.as_deref()).await?;
    match finish(settings, name, &stack.stack_id, since, template.resources.len(), talk).await {
        // To be what it was is what is wanted here.
        Err(DeployError::Failed { status, .. }) if status == "UPDATE_ROLLBACK_COMPLETE" => Ok(()),
        other => other.map(drop),
    }
}

/// The values that a stack's parameters have. That its load balancer may be deleted is not among them as long as the
/// stack itself may be: that is how a start begins, and a start that was interrupted is still to end otherwise.
pub(super) fn previous(stack: Option<&Stack>) -> Pairs {
    let mut values = stack.map(|stack| stack.parameters.clone()).unwrap_or_default();
    if stack.is_some_and(|stack| !stack.enable_termination_protection) {
        values.remove(PROTECTION);
    }
    values
}

/// The values of a stack's parameters, now that the stacks before it have their outputs.
pub(super) fn values(
    settings: &Settings<'_>,
    name: &str,
    template: &Template,
    outputs: &Pairs,
    previous: &Pairs,
) -> Result<BTreeMap<String, Value>, DeployError> {
    let sources = Sources { given: &settings.given, outputs, previous, promised: &BTreeSet::new() };
    foresee::resolved(name, template, sources)
}

/// What would change, as CloudFormation says; nothing if there is nothing.
pub(super) async fn change_set(
    settings: &Settings<'_>,
    kind: Kind,
    values: &BTreeMap<String, Value>,
    before: Option<&Stack>,
) -> Result<Option<(String, ChangeSet)>, DeployError> {
    let parameters: Pairs = values.iter().map(|(key, value)| (key.clone(), value.text.clone())).collect();
    compute(settings, &settings.stack(kind), Some(&kind.text()), &parameters, before).await
}

/// A change set, once CloudFormation has computed it; without a template it is the one that the stack has.
pub(super) async fn compute(
    settings: &Settings<'_>,
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
            "FAILED" => {
                settings.cloud.delete_change_set(&id).await?;
                if reason.contains("didn't contain changes") || reason.contains("No updates are to be performed") {
                    return Ok(None);
                }
                if is_new {
                    settings.cloud.delete(stack, role).await?;
                }
                return Err(DeployError::ChangeSet { stack: stack.to_owned(), reason });
            }
            _ if Instant::now() >= settings.deadline => {
                let status = format!("computing what would change ({})", set.status);
                return Err(DeployError::Late { stack: stack.to_owned(), status });
            }
            _ => sleep(INTERVAL).await,
        }
    }
}

/// Does what a change set says, and shows how it goes.
pub(super) async fn execute(
    settings: &Settings<'_>,
    name: &str,
    (id, set): (&str, &ChangeSet),
    talk: &mut dyn Talk,
) -> Result<(), DeployError> {
    let stack = settings.cloud.stack(name).await?.unwrap_or_default();
    let since = settings.cloud.last_event(&stack.stack_id).await?;
    settings.cloud.execute(id, &token()).await?;
    talk.say("  AWS is at work; Ctrl-C only stops watching, and the same command takes up where it is");
    let status = finish(settings, name, &stack.stack_id, since, set.changes.len(), talk).await?;
    talk.say(&format!("{name}: {status}"));
    Ok(())
}

/// Unlike any other, and good as a name.
fn token() -> String {
    let now = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("appliance-{}-{:09}", now.as_secs(), now.subsec_nanos())
}
