//! What can be known before the first stack is touched: that every value is there, that the template lets it through, that
//! the rules among them hold, and that the image exists. AWS would say some of it only after other stacks were made.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{DEAD, previous};
use super::parameters::{self, Origin, Sources, Value};
use super::rules::Known;
use super::templates::{Kind, Template};
use super::{DeployError, Mode, SERVERLESS_REGIONS, Settings, Talk, tags};
use crate::api::cloudformation::Pairs;

/// The parameter that is made of `--mode`.
const MODE: &str = "Mode";
/// Where the bake writes the image of each processor.
const IMAGES: &str = "/mlflow-appliance/ami/";
/// What a parameter's type begins with if it names a parameter of the Parameter Store.
const STORED: &str = "AWS::SSM::Parameter::Value<";
/// Parameters that CloudFormation, or the load balancer, takes from its own region only.
const REGIONAL: [&str; 2] = ["CertificateArn", "OidcClientSecretArn"];

/// The templates of this set, after all that can be known before AWS is asked; what follows from what was said is said.
pub(super) fn checked(settings: &mut Settings<'_>) -> Result<Vec<(Kind, Template)>, DeployError> {
    let region = settings.account.region;
    // A list for those who cannot ask AWS; of other types, and of regions that come later, AWS is asked (`preflight`).
    let makes_mlflow = settings.given.get("ExistingResourceArn").is_none_or(String::is_empty);
    if settings.mode == Mode::Serverless && makes_mlflow && !SERVERLESS_REGIONS.contains(&region) {
        return Err(DeployError::Region(region.to_owned()));
    }
    settings.given.insert(MODE.to_owned(), settings.mode.name().to_owned());
    // The bake publishes an image for each architecture; a template cannot choose between two parameters of AWS's.
    if let (Some(architecture), None) = (settings.given.get("Architecture"), settings.given.get("AmiParameter")) {
        let image = format!("{IMAGES}{architecture}");
        settings.given.insert("AmiParameter".to_owned(), image);
    }
    let templates: Vec<(Kind, Template)> = settings.kinds().map(|kind| (kind, kind.template())).collect();
    let mut problems = unfit(&templates, &settings.given)?;
    problems.extend(tags::unfit(&settings.tags));
    let foreign = format!(":{}/", settings.mode.other().resource());
    for name in ["ExistingResourceArn", "ResourceArn"] {
        if settings.given.get(name).is_some_and(|arn| arn.contains(&foreign)) {
            problems.push(format!("{name}: it is of the other mode, `--mode {}`", settings.mode.other().name()));
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

/// What is wrong with these values by themselves.
///
/// # Errors
/// [`DeployError::Unknown`]: some are of no parameter.
pub(super) fn unfit(templates: &[(Kind, Template)], given: &Pairs) -> Result<Vec<String>, DeployError> {
    let known: BTreeSet<&String> = templates.iter().flat_map(|(_, template)| template.parameters.keys()).collect();
    let unknown: Vec<String> = given.keys().filter(|name| !known.contains(name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(DeployError::Unknown(unknown));
    }
    let mut problems = Vec::new();
    for (name, parameter) in templates.iter().flat_map(|(_, template)| &template.parameters) {
        if let Some(text) = given.get(name)
            && let Err(reason) = parameters::check(parameter, text)
        {
            problems.push(format!("{name}: `{}`: {reason}", text.escape_debug()));
        }
    }
    problems.dedup();
    Ok(problems)
}

/// A stack as far as it is known before anything is done to it.
pub(super) struct Prospect {
    /// Its kind.
    pub kind: Kind,
    /// Its template.
    pub template: Template,
    /// The values of its parameters, as far as they are known.
    pub known: Pairs,
    /// True if it has to be made first.
    pub is_new: bool,
}

/// Returns each stack as far as it is known, once it is sure that every parameter will have a value and that the values go
/// together. Somebody at the terminal is asked for the values that are missing.
pub(super) async fn foresee(
    settings: &mut Settings<'_>,
    templates: Vec<(Kind, Template)>,
    talk: &mut dyn Talk,
) -> Result<Vec<Prospect>, DeployError> {
    let mut promised = BTreeSet::new();
    let mut all = Vec::new();
    for (kind, template) in templates {
        let name = settings.stack(kind);
        let stack = settings.cloud.stack(&name).await?;
        let is_new = stack.as_ref().is_none_or(|stack| DEAD.contains(&stack.stack_status.as_str()));
        let previous = previous(stack.as_ref());
        if kind == Kind::Appliance && previous.is_empty() {
            architecture(settings, &template, talk).await;
        }
        let none = Pairs::new();
        for (parameter, about) in &template.parameters {
            let sources = Sources { given: &settings.given, outputs: &none, previous: &previous, promised: &promised };
            if sources.has_none_for(parameter, about)
                && let Some(text) = talk.ask(parameter, &about.description)
            {
                settings.given.insert(parameter.clone(), text);
            }
        }
        let sources = Sources { given: &settings.given, outputs: &none, previous: &previous, promised: &promised };
        let values = resolved(&name, &template, sources)?;
        // What another stack is going to say may differ from what it said before.
        let known = values.into_iter().filter(|(key, value)| value.origin == Origin::Given || !promised.contains(key));
        let mut known: Pairs = known.map(|(key, value)| (key, value.text)).collect();
        known.insert("AWS::Region".to_owned(), settings.account.region.to_owned());
        let mut broken = Known { template: &template, values: &known }.broken();
        broken.extend(of_another_processor(&known));
        if !broken.is_empty() {
            return Err(DeployError::Parameters(name, broken));
        }
        promised.extend(template.outputs.iter().cloned());
        all.push(Prospect { kind, template, known, is_new });
    }
    Ok(all)
}

/// Chooses the architecture that was baked, where nobody says which and there is an image of one only.
async fn architecture(settings: &mut Settings<'_>, template: &Template, talk: &mut dyn Talk) {
    let says = ["Architecture", "AmiParameter", "InstanceType"].iter().any(|name| settings.given.contains_key(*name));
    let usual =
        template.parameters.get("Architecture").and_then(|about| about.default.as_ref()).map(ToString::to_string);
    let Some(usual) = usual.filter(|_| !says) else { return };
    let Some(other) = ["arm64", "x86_64"].into_iter().find(|one| *one != usual) else { return };
    if matches!(settings.store.value(&format!("{IMAGES}{usual}")).await, Ok(None))
        && let Ok(Some(_)) = settings.store.value(&format!("{IMAGES}{other}")).await
    {
        talk.say(&format!("Architecture = {other}: the bake has published an image for it, and none for {usual}"));
        settings.given.insert("Architecture".to_owned(), other.to_owned());
        settings.given.insert("AmiParameter".to_owned(), format!("{IMAGES}{other}"));
    }
}

/// What is wrong with the image, as far as its name says.
fn of_another_processor(known: &Pairs) -> Option<String> {
    let (image, wanted) = (known.get("AmiParameter")?, known.get("Architecture")?);
    // A parameter that another account shares is named by its ARN.
    let name = image.split_once(":parameter").map_or(image.as_str(), |(_, name)| name);
    let of = name.strip_prefix(IMAGES)?;
    (of != wanted).then(|| format!("AmiParameter: `{image}` is for {of}, and Architecture is {wanted}"))
}

/// The image that the Parameter Store names, or the first value that should be there and is not. It may not be possible
/// to look: that is said, and CloudFormation will look itself.
pub(super) async fn stored(
    settings: &Settings<'_>,
    prospects: &[Prospect],
    talk: &mut dyn Talk,
) -> Result<Option<String>, DeployError> {
    let region = settings.account.region;
    let mut image = None;
    for Prospect { template, known, .. } in prospects {
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
                Err(error) => talk.say(&format!(
                    "warning: it cannot be seen before the start whether there is `{name}`, for {parameter}: {error}"
                )),
            }
        }
    }
    Ok(image)
}

/// The values of a stack's parameters.
pub(super) fn resolved(
    name: &str,
    template: &Template,
    sources: Sources<'_>,
) -> Result<BTreeMap<String, Value>, DeployError> {
    let (values, problems) = parameters::resolve(template, sources);
    if problems.is_empty() {
        return Ok(values);
    }
    let problems = problems.into_iter().map(|(parameter, reason)| format!("{parameter}: {reason}")).collect();
    Err(DeployError::Parameters(name.to_owned(), problems))
}
