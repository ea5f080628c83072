//! Options reached by their names: told apart by where they came from, set by their keys, and put together.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::{Given, Place, ServeOptions};

impl ServeOptions {
    /// The value of a field by its name.
    pub(in crate::cli) fn given(&mut self, field: &str) -> Option<&Given> {
        self.slot(field).and_then(|slot| slot.as_ref())
    }

    /// Notes for each value whether it came from a flag or a variable. An empty variable counts as unset.
    #[must_use]
    pub(in crate::cli) fn locate(mut self, matches: &ArgMatches) -> Self {
        let command = Self::augment_args(clap::Command::new("serve"));
        for argument in command.get_arguments() {
            let field = argument.get_id().as_str();
            let Some(slot) = self.slot(field) else { continue };
            let Some(given) = slot else { continue };
            if matches.value_source(field) == Some(ValueSource::EnvVariable) {
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                given.place = Place::Variable(variable.unwrap_or_default());
                if given.text.is_empty() {
                    *slot = None;
                }
            } else {
                given.place = Place::Flag(format!("--{}", key(field)));
            }
        }
        self
    }

    /// Sets an option by its TOML key; false if there is none of that name.
    pub(in crate::cli) fn set(&mut self, key: &str, given: Given) -> bool {
        let field = key.replace('-', "_");
        // `body_size_limit` is not a second spelling of `body-size-limit`.
        match self.slot(&field) {
            Some(slot) if !key.contains('_') => {
                *slot = Some(given);
                true
            }
            _ => false,
        }
    }

    /// These options, and `other`'s where these say nothing.
    #[must_use]
    pub(in crate::cli) fn or(mut self, mut other: Self) -> Self {
        for field in Self::FIELDS {
            if let (Some(mine), Some(theirs)) = (self.slot(field), other.slot(field)) {
                *mine = mine.take().or_else(|| theirs.take());
            }
        }
        self.targets.append(&mut other.targets);
        self.callers.append(&mut other.callers);
        self
    }
}

/// The TOML key and flag of a field.
#[must_use]
pub(in crate::cli) fn key(field: &str) -> String {
    field.replace('_', "-")
}

/// The known name that is closest to this one, if one is close.
#[must_use]
pub(in crate::cli) fn similar(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    const CLOSE: f64 = 0.8;
    known
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .filter(|(closeness, _)| *closeness > CLOSE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_variable_and_key_are_one_name() {
        let command = ServeOptions::augment_args(clap::Command::new("serve"));
        let mut seen = 0;
        for argument in command.get_arguments() {
            let field = argument.get_id().as_str();
            let variable = argument.get_env().and_then(|name| name.to_str()).expect(field);
            let expected = match field {
                "resource_arn" => "SM_MLFLOW_RESOURCE_ARN".to_owned(),
                "region" => "SM_MLFLOW_AWS_REGION".to_owned(),
                "role_arn" => "SM_MLFLOW_ROLE_ARN".to_owned(),
                _ => format!("APPLIANCE_{}", field.to_uppercase()),
            };
            assert_eq!(variable, expected);
            assert_eq!(argument.get_long(), Some(key(field).as_str()));
            assert!(argument.get_help_heading().is_some(), "{field}");
            assert!(ServeOptions::default().set(&key(field), Given::from("x")), "{field}");
            seen += 1;
        }
        assert_eq!(seen, ServeOptions::FIELDS.len());
        assert!(!ServeOptions::default().set("body_size_limit", Given::from("x")));
        assert!(!ServeOptions::default().set("nonsense", Given::from("x")));
    }

    #[test]
    fn flags_win_over_the_file() {
        let mut flags = ServeOptions::default();
        let mut file = ServeOptions::default();
        flags.set("listen", Given::from("flag"));
        file.set("listen", Given::from("file"));
        file.set("workers", Given::from("2"));
        let merged = flags.or(file);
        let text = |given: &Option<Given>| given.as_ref().map(|given| given.text.clone());
        assert_eq!(text(&merged.listen).as_deref(), Some("flag"));
        assert_eq!(text(&merged.workers).as_deref(), Some("2"));
        assert_eq!(merged.region, None);
    }
}
