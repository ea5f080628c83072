//! The options of `serve`: flags, environment variables and TOML keys, from one definition.
//!
//! Every value is kept as text with its origin; [`super::settings`] interprets it and reports all problems together. The
//! key of a field is its name with hyphens: `--body-size-limit` is `body-size-limit = …` and `APPLIANCE_BODY_SIZE_LIMIT`.
//! Three variables keep the names that the AWS sample uses.

mod bodies;
mod callers;
pub(super) mod group;
mod listener;
mod names;
pub(super) mod raw;
mod tables;
mod target;
mod telemetry;
mod upstream;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

pub(super) use self::bodies::BodyOptions;
pub(super) use self::callers::CallerOptions;
pub(super) use self::group::{OptionGroup, fields, show_advanced};
pub(super) use self::listener::ListenerOptions;
pub(super) use self::names::{key, similar};
pub(super) use self::raw::{RawValue, ValueOrigin};
pub(super) use self::tables::{CallerTable, IssuerTable, TargetTable};
pub(super) use self::target::TargetOptions;
pub(super) use self::telemetry::TelemetryOptions;
pub(super) use self::upstream::UpstreamOptions;

/// The options of `serve`. None is required here; defaults and requirements are in `settings`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServeOptions {
    /// The options of the one target that has no table.
    #[command(flatten)]
    pub(super) target: TargetOptions,
    #[command(flatten)]
    pub(super) upstream: UpstreamOptions,
    #[command(flatten)]
    pub(super) listener: ListenerOptions,
    #[command(flatten)]
    pub(super) callers: CallerOptions,
    #[command(flatten)]
    pub(super) bodies: BodyOptions,
    #[command(flatten)]
    pub(super) telemetry: TelemetryOptions,
    /// The `[[target]]` tables of the file.
    #[arg(skip)]
    pub(super) target_tables: Vec<TargetTable>,
    /// The `[[caller]]` tables of the file.
    #[arg(skip)]
    pub(super) caller_tables: Vec<CallerTable>,
    /// The `[[issuer]]` tables of the file.
    #[arg(skip)]
    pub(super) issuer_tables: Vec<IssuerTable>,
}

impl OptionGroup for ServeOptions {
    fn slot(&mut self, field: &str) -> Option<&mut Option<RawValue>> {
        let groups: [&mut dyn OptionGroup; 6] = [
            &mut self.target,
            &mut self.upstream,
            &mut self.listener,
            &mut self.callers,
            &mut self.bodies,
            &mut self.telemetry,
        ];
        groups.into_iter().find_map(|group| group.slot(field))
    }
}

impl ServeOptions {
    /// Sets the origin of each value: its flag or its variable. An empty variable counts as unset.
    #[must_use]
    pub(super) fn locate(mut self, matches: &ArgMatches) -> Self {
        let command = Self::augment_args(clap::Command::new("serve"));
        for argument in command.get_arguments() {
            let field = argument.get_id().as_str();
            let Some(slot) = self.slot(field) else { continue };
            let Some(value) = slot else { continue };
            if matches.value_source(field) == Some(ValueSource::EnvVariable) {
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                value.origin = ValueOrigin::Variable(variable.unwrap_or_default());
                if value.text.is_empty() {
                    *slot = None;
                }
            } else {
                value.origin = ValueOrigin::Flag(format!("--{}", key(field)));
            }
        }
        self
    }

    /// These options, and `other`'s where these have no value.
    #[must_use]
    pub(super) fn or(mut self, mut other: Self) -> Self {
        for field in fields::<Self>() {
            if let (Some(mine), Some(theirs)) = (self.slot(&field), other.slot(&field)) {
                *mine = mine.take().or_else(|| theirs.take());
            }
        }
        self.target_tables.append(&mut other.target_tables);
        self.caller_tables.append(&mut other.caller_tables);
        self.issuer_tables.append(&mut other.issuer_tables);
        self
    }
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
            assert!(ServeOptions::default().set(&key(field), RawValue::from("x")), "{field}");
            seen += 1;
        }
        assert!(seen > 60, "{seen}");
        assert!(!ServeOptions::default().set("body_size_limit", RawValue::from("x")));
        assert!(!ServeOptions::default().set("nonsense", RawValue::from("x")));
    }

    #[test]
    fn help_shows_about_thirty_options_and_hides_the_advanced_ones() {
        let command = ServeOptions::augment_args(clap::Command::new("serve"));
        let is_advanced = |argument: &&clap::Arg| argument.get_help_heading().is_some_and(super::group::is_advanced);
        assert!(command.get_arguments().all(|argument| argument.is_hide_set() == is_advanced(&argument)));
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set()).count();
        assert!((25..=35).contains(&shown), "{shown}");
        assert!(show_advanced(command).get_arguments().all(|argument| !argument.is_hide_set()));
    }

    #[test]
    fn flags_win_over_the_file() {
        let mut flags = ServeOptions::default();
        let mut file = ServeOptions::default();
        flags.set("listen", RawValue::from("flag"));
        file.set("listen", RawValue::from("file"));
        file.set("workers", RawValue::from("2"));
        let merged = flags.or(file);
        let text = |value: &Option<RawValue>| value.as_ref().map(|value| value.text.clone());
        assert_eq!(text(&merged.listener.listen).as_deref(), Some("flag"));
        assert_eq!(text(&merged.listener.workers).as_deref(), Some("2"));
        assert_eq!(merged.target.region, None);
    }
}
