//! The values of a stack's parameters: the origin of each, and whether the template accepts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex_lite::Regex;

use super::error::DeployError;
use super::templates::{StackKind, Template, TemplateParameter};
use crate::api::cloudformation::Pairs;

/// The origin of a value. An earlier variant takes precedence over a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParameterOrigin {
    /// The command line or a file.
    Given,
    /// An output of another stack of this set.
    Output,
    /// The value that the stack has already.
    Previous,
    /// The default of the template.
    Default,
}

impl fmt::Display for ParameterOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Given => "given",
            Self::Output => "of another stack",
            Self::Previous => "as before",
            Self::Default => "default",
        })
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParameterValue {
    /// The text that CloudFormation gets.
    pub text: String,
    /// The origin of the value.
    pub origin: ParameterOrigin,
}

/// The sources of values.
#[derive(Clone, Copy)]
pub(super) struct ValueSources<'a> {
    /// The values of the command line and of files.
    pub given: &'a Pairs,
    /// The outputs of the stacks before this one.
    pub outputs: &'a Pairs,
    /// The values that the stack has; empty if there is no stack.
    pub previous: &'a Pairs,
    /// The names of the outputs that the stacks before this one will have.
    pub promised: &'a BTreeSet<String>,
}

impl ValueSources<'_> {
    /// Returns the value of a parameter.
    fn value(&self, name: &str, parameter: &TemplateParameter) -> Option<ParameterValue> {
        let found = |from: &Pairs, origin| from.get(name).map(|text| ParameterValue { text: text.clone(), origin });
        found(self.given, ParameterOrigin::Given)
            .or_else(|| found(self.outputs, ParameterOrigin::Output))
            .or_else(|| found(self.previous, ParameterOrigin::Previous))
            .or_else(|| {
                let text = parameter.default.as_ref()?.to_string();
                Some(ParameterValue { text, origin: ParameterOrigin::Default })
            })
    }

    /// Returns true if a parameter has no value, and will have none.
    pub(super) fn has_none_for(&self, name: &str, parameter: &TemplateParameter) -> bool {
        self.value(name, parameter).is_none() && !self.promised.contains(name)
    }
}

/// Returns the values of a template's parameters, and the problems with them: names and reasons.
#[must_use]
pub(super) fn resolve(
    template: &Template,
    sources: ValueSources<'_>,
) -> (BTreeMap<String, ParameterValue>, Vec<(String, String)>) {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, parameter) in &template.parameters {
        match sources.value(name, parameter) {
            None if sources.promised.contains(name) => {}
            None => problems.push((name.clone(), format!("it has no value: {}", parameter.description))),
            Some(value) => {
                if let Err(reason) = check(parameter, &value.text) {
                    problems.push((name.clone(), format!("`{}`: {reason}", value.text.escape_debug())));
                }
                values.insert(name.clone(), value);
            }
        }
    }
    (values, problems)
}

/// Checks a value against its template as CloudFormation does.
///
/// # Errors
/// The reason, in the template's own words if it has some.
pub(super) fn check(parameter: &TemplateParameter, text: &str) -> Result<(), String> {
    let says = |otherwise: String| parameter.constraint_description.clone().unwrap_or(otherwise);
    if !parameter.allowed_values.is_empty() && !parameter.allowed_values.iter().any(|one| one.to_string() == text) {
        let all: Vec<String> = parameter.allowed_values.iter().map(ToString::to_string).collect();
        return Err(format!("it is not one of {}", all.join(", ")));
    }
    if let Some(pattern) = &parameter.allowed_pattern {
        // CloudFormation requires the whole value to match.
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("{pattern}: {error}"))?;
        let is_list = parameter.r#type == "CommaDelimitedList";
        let matches =
            if is_list { text.split(',').all(|one| regex.is_match(one.trim())) } else { regex.is_match(text) };
        if !matches {
            return Err(says(format!("it does not match {pattern}")));
        }
    }
    let length = text.chars().count();
    if parameter.min_length.is_some_and(|least| length < least)
        || parameter.max_length.is_some_and(|most| length > most)
    {
        return Err(says(format!("it has {length} characters")));
    }
    if parameter.r#type == "Number" {
        let number: f64 = text.parse().map_err(|_| says("it is not a number".to_owned()))?;
        if parameter.min_value.is_some_and(|least| number < least)
            || parameter.max_value.is_some_and(|most| number > most)
        {
            return Err(says(format!(
                "it is not from {} to {}",
                parameter.min_value.unwrap_or(f64::NEG_INFINITY),
                parameter.max_value.unwrap_or(f64::INFINITY)
            )));
        }
    }
    Ok(())
}

/// Returns the problems of these values by themselves.
///
/// # Errors
/// [`DeployError::Unknown`]: no template has such a parameter.
pub(super) fn unfit(templates: &[(StackKind, Template)], given: &Pairs) -> Result<Vec<String>, DeployError> {
    let known: BTreeSet<&String> = templates.iter().flat_map(|(_, template)| template.parameters.keys()).collect();
    let unknown: Vec<String> = given.keys().filter(|name| !known.contains(name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(DeployError::Unknown(unknown));
    }
    let mut problems = Vec::new();
    for (name, parameter) in templates.iter().flat_map(|(_, template)| &template.parameters) {
        if let Some(text) = given.get(name)
            && let Err(reason) = check(parameter, text)
        {
            problems.push(format!("{name}: `{}`: {reason}", text.escape_debug()));
        }
    }
    problems.dedup();
    Ok(problems)
}

/// Returns the values of a stack's parameters.
pub(super) fn resolved(
    name: &str,
    template: &Template,
    sources: ValueSources<'_>,
) -> Result<BTreeMap<String, ParameterValue>, DeployError> {
    let (values, problems) = resolve(template, sources);
    if problems.is_empty() {
        return Ok(values);
    }
    let problems = problems.into_iter().map(|(parameter, reason)| format!("{parameter}: {reason}")).collect();
    Err(DeployError::Parameters(name.to_owned(), problems))
}

/// Returns the values of a stack's parameters once the stacks before it have their outputs.
pub(super) fn stack_values(
    given: &Pairs,
    name: &str,
    template: &Template,
    outputs: &Pairs,
    previous: &Pairs,
) -> Result<BTreeMap<String, ParameterValue>, DeployError> {
    let sources = ValueSources { given, outputs, previous, promised: &BTreeSet::new() };
    resolved(name, template, sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(text: &str) -> TemplateParameter {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn values_are_checked_against_the_template() {
        let mode = parameter("Type: String\nAllowedValues: [tracking, serverless]");
        assert_eq!(check(&mode, "tracking"), Ok(()));
        assert_eq!(check(&mode, "other"), Err("it is not one of tracking, serverless".into()));
        let flag = parameter("Type: String\nAllowedValues: [true, false]");
        assert_eq!(check(&flag, "true"), Ok(()));
        let list =
            parameter("Type: CommaDelimitedList\nAllowedPattern: '[0-9.]+/[0-9]+'\nConstraintDescription: networks");
        assert_eq!(check(&list, "10.0.0.0/8, 192.0.2.0/24"), Ok(()));
        assert_eq!(check(&list, "10.0.0.0/8,x"), Err("networks".into()));
        // The whole value has to match, as CloudFormation requires.
        let size = parameter("Type: String\nAllowedPattern: 'a|b'");
        assert!(check(&size, "a").is_ok() && check(&size, "ab").is_err());
        let number = parameter("Type: Number\nMinValue: 1\nMaxValue: 9");
        assert!(check(&number, "9").is_ok() && check(&number, "10").is_err() && check(&number, "x").is_err());
        let length = parameter("Type: String\nMinLength: 2\nMaxLength: 3");
        assert!(check(&length, "ab").is_ok() && check(&length, "a").is_err() && check(&length, "abcd").is_err());
    }

    #[test]
    fn given_values_precede_outputs_previous_values_and_defaults() {
        let text = "Outputs: []\nResources: {}\nParameters:\n  A: {Type: String, Default: d}\n  B: {Type: String, Description: why}\n";
        let template: Template = serde_saphyr::from_str(text).unwrap();
        let pairs = |pairs: &[(&str, &str)]| -> Pairs {
            pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
        };
        let all = [("A", "x")];
        let none = Pairs::new();
        let of = |given: &Pairs, outputs: &Pairs, previous: &Pairs| {
            let (values, problems) =
                resolve(&template, ValueSources { given, outputs, previous, promised: &BTreeSet::new() });
            (values["A"].clone(), problems)
        };
        let (value, problems) = of(&none, &none, &none);
        assert_eq!((value.text.as_str(), value.origin), ("d", ParameterOrigin::Default));
        assert_eq!(problems, [("B".to_owned(), "it has no value: why".to_owned())]);
        let some = pairs(&all);
        assert_eq!(of(&none, &none, &some).0.origin, ParameterOrigin::Previous);
        assert_eq!(of(&none, &some, &some).0.origin, ParameterOrigin::Output);
        assert_eq!(of(&some, &some, &some).0.origin, ParameterOrigin::Given);
    }
}
