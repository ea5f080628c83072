//! The planned stacks: every parameter has a value, the template accepts it, the rules among the values hold, and the image
//! exists. AWS would report some problems only after it has created other stacks.

use std::collections::BTreeSet;

use super::chosen_compute;
use super::compute::Compute;
use super::container_image::EcrImage;
use super::error::DeployError;
use super::parameters::{ParameterOrigin, ValueSources, resolved, unfit};
use super::prompter::Prompter;
use super::rules::KnownValues;
use super::settings::{DeployMode, DeploySettings, SERVERLESS_REGIONS};
use super::stack::{DEAD, previous};
use super::tags;
use super::templates::{StackKind, Template};
use crate::api::cloudformation::Pairs;

/// The parameter that `--mode` sets.
pub(super) const MODE: &str = "Mode";
/// The path under which the bake publishes the image of each architecture.
const IMAGES: &str = "/mlflow-appliance/ami/";
/// The prefix of a parameter's type if its value names a parameter of the Parameter Store.
const STORED: &str = "AWS::SSM::Parameter::Value<";
/// Parameters that CloudFormation, or the load balancer, takes from its own region only.
const REGIONAL: [&str; 2] = ["CertificateArn", "OidcClientSecretArn"];

/// Returns the templates of this set, with one kind of compute.
pub(super) async fn chosen_templates(
    settings: &mut DeploySettings<'_>,
) -> Result<Vec<(StackKind, Template)>, DeployError> {
    // Wrong values are reported before AWS is asked which kind of compute the deployment has.
    let templates = checked_templates(settings)?;
    if settings.compute.is_some() {
        return Ok(templates);
    }
    chosen_compute::choose(settings).await?;
    checked_templates(settings)
}

/// Returns the templates of this set, after all checks that need no answer from AWS. Adds the values that follow from others.
fn checked_templates(settings: &mut DeploySettings<'_>) -> Result<Vec<(StackKind, Template)>, DeployError> {
    let region = settings.account.region;
    // The list is for a command that cannot ask AWS. The check of types asks AWS, also about later regions.
    let makes_mlflow = settings.given.get("ExistingResourceArn").is_none_or(String::is_empty);
    if settings.mode == DeployMode::Serverless && makes_mlflow && !SERVERLESS_REGIONS.contains(&region) {
        return Err(DeployError::Region(region.to_owned()));
    }
    settings.given.insert(MODE.to_owned(), settings.mode.name().to_owned());
    add_derived(settings);
    let templates: Vec<(StackKind, Template)> = settings.kinds().map(|kind| (kind, kind.template())).collect();
    let mut problems = unfit(&templates, &settings.given)?;
    problems.extend(tags::unfit(&settings.tags));
    let foreign = format!(":{}/", settings.mode.other().resource());
    for name in ["ExistingResourceArn", "ResourceArn"] {
        if settings.given.get(name).is_some_and(|arn| arn.contains(&foreign)) {
            problems
                .push(format!("{name}: its MLflow is of the other mode, `--mode {}`", settings.mode.other().name()));
        }
    }
    for name in REGIONAL {
        let of = settings.given.get(name).and_then(|arn| arn.split(':').nth(3));
        if let Some(of) = of.filter(|of| *of != region) {
            problems.push(format!("{name}: it is of {of}; one of {region} is needed"));
        }
    }
    if problems.is_empty() { Ok(templates) } else { Err(DeployError::Parameters(settings.prefix.clone(), problems)) }
}

/// Adds the values that follow from others, and that a template cannot derive itself.
fn add_derived(settings: &mut DeploySettings<'_>) {
    let given = |name: &str| settings.given.get(name);
    let derived = match settings.compute {
        // The bake publishes an image for each architecture, and a template cannot choose between two parameters of the store.
        Some(Compute::Instances) if given("AmiParameter").is_none() => {
            given("Architecture").map(|architecture| ("AmiParameter", format!("{IMAGES}{architecture}")))
        }
        Some(Compute::Fargate) if given("RepositoryArn").is_none() => given("ContainerImage").map(|image| {
            ("RepositoryArn", EcrImage::parse(image).map(|image| image.repository_arn()).unwrap_or_default())
        }),
        _ => None,
    };
    settings.given.extend(derived.map(|(name, value)| (name.to_owned(), value)));
}

/// A stack as it is known before the first operation.
pub(super) struct PlannedStack {
    /// Its kind.
    pub kind: StackKind,
    /// Its template.
    pub template: Template,
    /// The values of its parameters, as far as they are known.
    pub known: Pairs,
    /// True if the stack does not exist yet.
    pub is_new: bool,
}

/// Returns the planned stacks, in which every parameter will have a value and the values satisfy the rules. Asks the person at
/// the terminal for missing values.
pub(super) async fn planned_stacks(
    settings: &mut DeploySettings<'_>,
    templates: Vec<(StackKind, Template)>,
    prompter: &mut dyn Prompter,
) -> Result<Vec<PlannedStack>, DeployError> {
    let mut promised = BTreeSet::new();
    let mut all = Vec::new();
    for (kind, template) in templates {
        let name = settings.stack(kind);
        let stack = settings.cloud.stack(&name).await?;
        let is_new = stack.as_ref().is_none_or(|stack| DEAD.contains(&stack.stack_status.as_str()));
        let mut previous = previous(stack.as_ref());
        if previous.is_empty() {
            previous = chosen_compute::inherited(settings, kind, &template).await?;
        }
        if kind == StackKind::Appliance && previous.is_empty() {
            choose_architecture(settings, &template, prompter).await;
        }
        let none = Pairs::new();
        for (parameter, about) in &template.parameters {
            let sources =
                ValueSources { given: &settings.given, outputs: &none, previous: &previous, promised: &promised };
            if sources.has_none_for(parameter, about)
                && let Some(text) = prompter.ask(parameter, &about.description)
            {
                settings.given.insert(parameter.clone(), text);
            }
        }
        let sources = ValueSources { given: &settings.given, outputs: &none, previous: &previous, promised: &promised };
        let values = resolved(&name, &template, sources)?;
        // A later output of another stack may differ from its earlier one.
        let known =
            values.into_iter().filter(|(key, value)| value.origin == ParameterOrigin::Given || !promised.contains(key));
        let mut known: Pairs = known.map(|(key, value)| (key, value.text)).collect();
        known.insert("AWS::Region".to_owned(), settings.account.region.to_owned());
        let mut broken = KnownValues { template: &template, values: &known }.broken();
        broken.extend(of_another_processor(&known));
        if !broken.is_empty() {
            return Err(DeployError::Parameters(name, broken));
        }
        promised.extend(template.outputs.iter().cloned());
        all.push(PlannedStack { kind, template, known, is_new });
    }
    Ok(all)
}

/// Chooses the architecture that was baked, if no value names one and there is an image for only one.
async fn choose_architecture(settings: &mut DeploySettings<'_>, template: &Template, prompter: &mut dyn Prompter) {
    let says = ["Architecture", "AmiParameter", "InstanceType"].iter().any(|name| settings.given.contains_key(*name));
    let usual =
        template.parameters.get("Architecture").and_then(|about| about.default.as_ref()).map(ToString::to_string);
    let Some(usual) = usual.filter(|_| !says) else { return };
    let Some(other) = ["arm64", "x86_64"].into_iter().find(|one| *one != usual) else { return };
    if matches!(settings.store.value(&format!("{IMAGES}{usual}")).await, Ok(None))
        && let Ok(Some(_)) = settings.store.value(&format!("{IMAGES}{other}")).await
    {
        prompter.say(&format!("Architecture = {other}: the bake has published an image for it, and none for {usual}"));
        settings.given.insert("Architecture".to_owned(), other.to_owned());
        settings.given.insert("AmiParameter".to_owned(), format!("{IMAGES}{other}"));
    }
}

/// Returns a problem if the name of the image is for another architecture.
fn of_another_processor(known: &Pairs) -> Option<String> {
    let (image, wanted) = (known.get("AmiParameter")?, known.get("Architecture")?);
    // A parameter that another account shares is named by its ARN.
    let name = image.split_once(":parameter").map_or(image.as_str(), |(_, name)| name);
    let of = name.strip_prefix(IMAGES)?;
    (of != wanted).then(|| format!("AmiParameter: `{image}` is for {of}, and Architecture is {wanted}"))
}

/// Returns the image that the Parameter Store names. If the store cannot be read, it warns, and CloudFormation will look itself.
///
/// # Errors
/// [`DeployError::Missing`]: the store lacks a parameter, or it names no image.
pub(super) async fn stored_image(
    settings: &DeploySettings<'_>,
    stacks: &[PlannedStack],
    prompter: &mut dyn Prompter,
) -> Result<Option<String>, DeployError> {
    let region = settings.account.region;
    let mut image = None;
    for PlannedStack { template, known, .. } in stacks {
        let stored = template.parameters.iter().filter(|(_, about)| about.r#type.starts_with(STORED));
        for (parameter, about) in stored {
            let Some(name) = known.get(parameter) else { continue };
            let missing = |what: String| DeployError::Missing { parameter: parameter.clone(), what };
            match settings.store.value(name).await {
                Ok(None) => return Err(missing(format!("the Parameter Store of {region} has no `{name}`"))),
                Ok(Some(value)) if about.r#type.contains("Image::Id") && !value.starts_with("ami-") => {
                    return Err(missing(format!("`{name}` in {region} is `{}`", value.escape_debug())));
                }
                Ok(Some(value)) => image = Some(value),
                Err(error) => prompter
                    .say(&format!("warning: preflight cannot tell whether `{name}` exists, for {parameter}: {error}")),
            }
        }
    }
    Ok(image)
}
