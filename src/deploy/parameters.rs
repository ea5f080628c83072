//! The values of a stack's parameters: where each comes from, and whether its template lets it through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex_lite::Regex;

use super::templates::{Parameter, Template};
use crate::api::cloudformation::Pairs;

/// Where a value comes from. What comes first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody said so, on the command line or in a file.
    Given,
    /// Another stack of this set has an output of that name.
    Output,
    /// The stack has it already.
    Previous,
    /// The template says so.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Given => "given",
            Self::Output => "of another stack",
            Self::Previous => "as before",
            Self::Default => "default",
        })
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// As CloudFormation gets it.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where values can come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// What somebody said.
    pub given: &'a Pairs,
    /// The outputs of the stacks before this one.
    pub outputs: &'a Pairs,
    /// What the stack has; empty if there is none.
    pub previous: &'a Pairs,
    /// Outputs that stacks before this one will have.
    pub promised: &'a BTreeSet<String>,
}

impl Sources<'_> {
    /// The value of a parameter.
    fn value(&self, name: &str, parameter: &Parameter) -> Option<Value> {
        let found = |from: &Pairs, origin| from.get(name).map(|text| Value { text: text.clone(), origin });
        found(self.given, Origin::Given)
            .or_else(|| found(self.outputs, Origin::Output))
            .or_else(|| found(self.previous, Origin::Previous))
            .or_else(|| {
                let text = parameter.default.as_ref()?.to_string();
                Some(Value { text, origin: Origin::Default })
            })
    }

    /// Whether a parameter has no value, and will have none.
    pub(super) fn has_none_for(&self, name: &str, parameter: &Parameter) -> bool {
        self.value(name, parameter).is_none() && !self.promised.contains(name)
    }
}

/// The values of a template's parameters, and what is wrong with them: names and reasons.
#[must_use]
pub(super) fn resolve(template: &Template, sources: Sources<'_>) -> (BTreeMap<String, Value>, Vec<(String, String)>) {
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

/// Whether a template lets a value through, as CloudFormation would decide.
///
/// # Errors
/// Why not, in the template's own words if it has some.
pub(super) fn check(parameter: &Parameter, text: &str) -> Result<(), String> {
    let says = |otherwise: String| parameter.constraint_description.clone().unwrap_or(otherwise);
    if !parameter.allowed_values.is_empty() && !parameter.allowed_values.iter().any(|one| one.to_string() == text) {
        let all: Vec<String> = parameter.allowed_values.iter().map(ToString::to_string).collect();
        return Err(format!("not one of {}", all.join(", ")));
    }
    if let Some(pattern) = &parameter.allowed_pattern {
        // CloudFormation wants the whole of it to match.
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
        let number: f64 = text.parse().map_err(|_| says("not a number".to_owned()))?;
        if parameter.min_value.is_some_and(|least| number < least)
            || parameter.max_value.is_some_and(|most| number > most)
        {
            return Err(says(format!(
                "not from {} to {}",
                parameter.min_value.unwrap_or(f64::NEG_INFINITY),
                parameter.max_value.unwrap_or(f64::INFINITY)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(text: &str) -> Parameter {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn values_are_held_against_what_the_template_says() {
        let mode = parameter("Type: String\nAllowedValues: [tracking, serverless]");
        assert_eq!(check(&mode, "tracking"), Ok(()));
        assert_eq!(check(&mode, "other"), Err("not one of tracking, serverless".into()));
        let flag = parameter("Type: String\nAllowedValues: [true, false]");
        assert_eq!(check(&flag, "true"), Ok(()));
        let list =
            parameter("Type: CommaDelimitedList\nAllowedPattern: '[0-9.]+/[0-9]+'\nConstraintDescription: networks");
        assert_eq!(check(&list, "10.0.0.0/8, 192.0.2.0/24"), Ok(()));
        assert_eq!(check(&list, "10.0.0.0/8,x"), Err("networks".into()));
        // The whole of it, as CloudFormation wants.
        let size = parameter("Type: String\nAllowedPattern: 'a|b'");
        assert!(check(&size, "a").is_ok() && check(&size, "ab").is_err());
        let number = parameter("Type: Number\nMinValue: 1\nMaxValue: 9");
        assert!(check(&number, "9").is_ok() && check(&number, "10").is_err() && check(&number, "x").is_err());
        let length = parameter("Type: String\nMinLength: 2\nMaxLength: 3");
        assert!(check(&length, "ab").is_ok() && check(&length, "a").is_err() && check(&length, "abcd").is_err());
    }

    #[test]
    fn what_is_given_wins_over_outputs_those_over_the_past_and_that_over_defaults() {
        let text = "Outputs: []\nResources: {}\nParameters:\n  A: {Type: String, Default: d}\n  B: {Type: String, Description: why}\n";
        let template: Template = serde_saphyr::from_str(text).unwrap();
        let pairs = |pairs: &[(&str, &str)]| -> Pairs {
            pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
        };
        let all = [("A", "x")];
        let none = Pairs::new();
        let of = |given: &Pairs, outputs: &Pairs, previous: &Pairs| {
            let (values, problems) =
                resolve(&template, Sources { given, outputs, previous, promised: &BTreeSet::new() });
            (values["A"].clone(), problems)
        };
        let (value, problems) = of(&none, &none, &none);
        assert_eq!((value.text.as_str(), value.origin), ("d", Origin::Default));
        assert_eq!(problems, [("B".to_owned(), "it has no value: why".to_owned())]);
        let some = pairs(&all);
        assert_eq!(of(&none, &none, &some).0.origin, Origin::Previous);
        assert_eq!(of(&none, &some, &some).0.origin, Origin::Output);
        assert_eq!(of(&some, &some, &some).0.origin, Origin::Given);
    }
}
