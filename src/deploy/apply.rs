//! `plan` and `apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::parameters::{self, Origin, Sources, Value};
use super::templates::{Kind, Template};
use super::{DeployError, Mode, SERVERLESS_REGIONS, Settings, Talk, delete, diff, finish};
use crate::api::cloudformation::{ChangeSet, Pairs, Stack, Wish};
use crate::clock;

/// How often it is asked whether the changes have been computed.
const INTERVAL: Duration = Duration::from_secs(1);
/// The parameter that is made of `--mode`.
const MODE: &str = "Mode";
/// In these, a stack that never was can only be deleted.
const DEAD: [&str; 5] =
    ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"];
/// The parameter by which the load balancer keeps itself from being deleted.
pub(super) const PROTECTION: &str = "DeletionProtection";

/// Shows what `apply` would do; true if there is anything. Changes nothing that lasts.
///
/// # Errors
/// [`DeployError`].
pub async fn plan(settings: &mut Settings<'_>, talk: &mut dyn Talk) -> Result<bool, DeployError> {
    let mut outputs = Pairs::new();
    let mut is_any = false;
    for (kind, template) in checked(settings)? {
        let name = settings.stack(kind);
        let stack = settings.cloud.stack(&name).await?.filter(|stack| stack.stack_status != "REVIEW_IN_PROGRESS");
        let Some(stack) = stack.filter(|stack| !DEAD.contains(&stack.stack_status.as_str())) else {
            talk.say(&format!("{name}: would be made, with {} resources at most", template.resources.len()));
            is_any = true;
            continue;
        };
        let values = values(settings, &name, &template, &outputs, Some(&stack))?;
        if let Some((id, set)) = change_set(settings, kind, &values, Some(&stack)).await? {
            show(&name, &set, talk);
            settings.cloud.delete_change_set(&id).await?;
            is_any = true;
        } else {
            talk.say(&format!("{name}: no changes"));
        }
        outputs.extend(stack.outputs);
    }
    Ok(is_any)
}

/// Makes or changes the stacks, one after the other; the outputs of all.
///
/// # Errors
/// [`DeployError`]; it can be run again.
pub async fn apply(settings: &mut Settings<'_>, talk: &mut dyn Talk) -> Result<Pairs, DeployError> {
    let templates = checked(settings)?;
    foresee(settings, &templates, talk).await?;
    let mut outputs = Pairs::new();
    for (kind, template) in templates {
        let name = settings.stack(kind);
        let before = settled(settings, &name, &template, talk).await?;
        let mut values = values(settings, &name, &template, &outputs, before.as_ref())?;
        // A start that fails could not be undone otherwise: so protection comes last.
        let protection = values.get_mut(PROTECTION).filter(|value| before.is_none() && value.text == "true");
        let is_protected_later = protection.map(|value| "false".clone_into(&mut value.text)).is_some();
        match change_set(settings, kind, &values, before.as_ref()).await? {
            None => talk.say(&format!("{name}: no changes")),
            Some((id, set)) => {
                change(settings, &name, (&id, &set), &values, before.as_ref(), &template, talk).await?;
            }
        }
        let mut after = settings.cloud.stack(&name).await?.unwrap_or_default();
        if is_protected_later {
            after.parameters.insert(PROTECTION.to_owned(), "true".to_owned());
            if let Some((id, set)) = compute(settings, &name, None, &after.parameters, false).await? {
                talk.say(&format!("{name}: now its load balancer keeps itself from being deleted"));
                execute(settings, &name, (&id, &set), talk).await?;
            }
        }
        if !after.enable_termination_protection {
            settings.cloud.protect(&name, true).await?;
            talk.say(&format!("{name}: protected from being deleted but by `appliance deploy destroy`"));
        }
        outputs.extend(after.outputs);
    }
    Ok(outputs)
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
            settings.cloud.delete(name).await?;
        }
        return Err(DeployError::Declined(name.to_owned()));
    }
    execute(settings, name, (id, set), talk).await
}

/// The stack, once nothing happens to it any more, and without what is left of one that never was.
async fn settled(
    settings: &Settings<'_>,
    name: &str,
    template: &Template,
    talk: &mut dyn Talk,
) -> Result<Option<Stack>, DeployError> {
    let Some(mut stack) = settings.cloud.stack(name).await? else { return Ok(None) };
    if stack.stack_status.ends_with("_IN_PROGRESS") && stack.stack_status != "REVIEW_IN_PROGRESS" {
        talk.say(&format!("{name} is {}: watching that first", stack.stack_status));
        // How it ends is seen below.
        match finish(settings, name, &stack.stack_id, None, template.resources.len(), talk).await {
            Ok(_) | Err(DeployError::Failed { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some(now) = settings.cloud.stack(name).await? else { return Ok(None) };
        stack = now;
    }
    if !DEAD.contains(&stack.stack_status.as_str()) {
        return Ok(Some(stack));
    }
    let is_empty = stack.stack_status == "REVIEW_IN_PROGRESS";
    talk.say(&format!("{name} is {}, left over from a start that did not succeed", stack.stack_status));
    if !is_empty && !talk.agrees(&format!("Remove what is left of {name}?")) {
        return Err(DeployError::Declined(name.to_owned()));
    }
    delete(settings, name, &stack, template, talk).await?;
    Ok(None)
}

/// Whether every stack will have its values, before the first is touched. Whoever is there is asked for what is missing.
async fn foresee(
    settings: &mut Settings<'_>,
    templates: &[(Kind, Template)],
    talk: &mut dyn Talk,
) -> Result<(), DeployError> {
    let mut promised = BTreeSet::new();
    for (kind, template) in templates {
        let name = settings.stack(*kind);
        let before = settings.cloud.stack(&name).await?;
        let previous = previous(before.as_ref());
        for (parameter, about) in &template.parameters {
            let sources = Sources { given: &settings.given, outputs: &Pairs::new(), previous, promised: &promised };
            if sources.has_none_for(parameter, about)
                && let Some(text) = talk.ask(parameter, &about.description)
            {
                settings.given.insert(parameter.clone(), text);
            }
        }
        resolved(settings, &name, template, (&Pairs::new(), &promised), before.as_ref())?;
        promised.extend(template.outputs.iter().cloned());
    }
    Ok(())
}

/// The parameters that a stack has.
fn previous(stack: Option<&Stack>) -> &Pairs {
    static NONE: Pairs = Pairs::new();
    stack.map_or(&NONE, |stack| &stack.parameters)
}

/// The templates of this set, after all that can be known before AWS is asked; what follows from what was said is said.
fn checked(settings: &mut Settings<'_>) -> Result<Vec<(Kind, Template)>, DeployError> {
    if settings.mode == Mode::Serverless && !SERVERLESS_REGIONS.contains(&settings.cloud.region) {
        return Err(DeployError::Region(settings.cloud.region.to_owned()));
    }
    settings.given.insert(MODE.to_owned(), settings.mode.name().to_owned());
    // The bake publishes an image for each architecture; a template cannot choose between two parameters of AWS's.
    if let (Some(architecture), None) = (settings.given.get("Architecture"), settings.given.get("AmiParameter")) {
        let image = format!("/mlflow-appliance/ami/{architecture}");
        settings.given.insert("AmiParameter".to_owned(), image);
    }
    let templates: Vec<(Kind, Template)> = settings.kinds().map(|kind| (kind, kind.template())).collect();
    let known: BTreeSet<&String> = templates.iter().flat_map(|(_, template)| template.parameters.keys()).collect();
    let unknown: Vec<String> = settings.given.keys().filter(|name| !known.contains(name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(DeployError::Unknown(unknown));
    }
    let mut problems = Vec::new();
    for (_, template) in &templates {
        for (name, parameter) in &template.parameters {
            if let Some(text) = settings.given.get(name)
                && let Err(reason) = parameters::check(parameter, text)
            {
                problems.push(format!("{name}: `{}`: {reason}", text.escape_debug()));
            }
        }
    }
    let foreign = format!(":{}/", settings.mode.other().resource());
    for name in ["ExistingResourceArn", "ResourceArn"] {
        if settings.given.get(name).is_some_and(|arn| arn.contains(&foreign)) {
            problems.push(format!("{name}: it is of the other mode, `--mode {}`", settings.mode.other().name()));
        }
    }
    problems.dedup();
    if problems.is_empty() { Ok(templates) } else { Err(DeployError::Parameters(settings.prefix.clone(), problems)) }
}

fn values(
    settings: &Settings<'_>,
    name: &str,
    template: &Template,
    outputs: &Pairs,
    before: Option<&Stack>,
) -> Result<BTreeMap<String, Value>, DeployError> {
    resolved(settings, name, template, (outputs, &BTreeSet::new()), before)
}

fn resolved(
    settings: &Settings<'_>,
    name: &str,
    template: &Template,
    (outputs, promised): (&Pairs, &BTreeSet<String>),
    before: Option<&Stack>,
) -> Result<BTreeMap<String, Value>, DeployError> {
    let sources = Sources { given: &settings.given, outputs, previous: previous(before), promised };
    let (values, problems) = parameters::resolve(template, sources);
    if problems.is_empty() {
        return Ok(values);
    }
    let problems = problems.into_iter().map(|(parameter, reason)| format!("{parameter}: {reason}")).collect();
    Err(DeployError::Parameters(name.to_owned(), problems))
}

/// What would change, as CloudFormation says; nothing if there is nothing.
async fn change_set(
    settings: &Settings<'_>,
    kind: Kind,
    values: &BTreeMap<String, Value>,
    before: Option<&Stack>,
) -> Result<Option<(String, ChangeSet)>, DeployError> {
    let parameters: Pairs = values.iter().map(|(key, value)| (key.clone(), value.text.clone())).collect();
    compute(settings, &settings.stack(kind), Some(&kind.text()), &parameters, before.is_none()).await
}

/// A change set, once CloudFormation has computed it; without a template it is the one that the stack has.
pub(super) async fn compute(
    settings: &Settings<'_>,
    stack: &str,
    template: Option<&str>,
    parameters: &Pairs,
    is_new: bool,
) -> Result<Option<(String, ChangeSet)>, DeployError> {
    let tags = Pairs::from([
        ("project".to_owned(), "sagemaker-mlflow-appliance".to_owned()),
        ("appliance:set".to_owned(), settings.prefix.clone()),
    ]);
    let wish = Wish { stack, name: &token(), is_new, template, parameters, tags: &tags };
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
                    settings.cloud.delete(stack).await?;
                }
                return Err(DeployError::ChangeSet { stack: stack.to_owned(), reason });
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

fn show(name: &str, set: &ChangeSet, talk: &mut dyn Talk) {
    let count = set.changes.len();
    talk.say(&format!("{name}: {count} change{}", if count == 1 { "" } else { "s" }));
    for line in diff::lines(&set.changes) {
        talk.show(&line);
    }
}
