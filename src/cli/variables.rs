//! Environment variables that are named like the appliance's and are none of them, mostly because of typing errors.

use std::collections::BTreeSet;

use clap::Command;

use super::file::TEXT_VARIABLE;
use super::options::similar;
use super::problems::{Problem, Problems};

/// The prefixes of our own variables. The second is that of AWS's sample, and other programs may use more of those.
const PREFIXES: [&str; 2] = ["APPLIANCE_", "SM_MLFLOW_"];
/// Prefixes with another meaning: Kubernetes describes a service `appliance` by such variables to all containers beside
/// it, and the tests of this program find their tools by them.
const OF_OTHERS: [&str; 5] =
    ["APPLIANCE_SERVICE_", "APPLIANCE_PORT", "APPLIANCE_TEST_", "APPLIANCE_BIN", "APPLIANCE_LEAN_BIN"];

/// A variable without effect.
pub(super) struct UnknownVariable {
    name: String,
    /// The variable that was probably meant.
    meant: Option<String>,
}

/// The variables of this process that are named like those of `grammar` and are none of them.
#[must_use]
pub(super) fn unknown(grammar: &Command) -> Vec<UnknownVariable> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    among(grammar, set.filter_map(|(name, _)| name.into_string().ok()))
}

/// Adds a problem for each variable that was probably meant for another one, and a warning for each other one.
pub(super) fn check(unknown: &[UnknownVariable], problems: &mut Problems) {
    for UnknownVariable { name, meant } in unknown {
        match meant {
            Some(meant) => {
                problems.add_local(name, "the appliance has no such variable", format!("did you mean `{meant}`?"));
            }
            None => problems.warn(
                name,
                "the appliance has no such variable",
                "remove it, or see `appliance serve --help-all` for all variables",
            ),
        }
    }
}

/// The same for commands that read no other configuration.
///
/// # Errors
/// The variables that were probably meant for other ones.
pub(super) fn checked(unknown: &[UnknownVariable]) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    check(unknown, &mut problems);
    problems.none_or_all().map(drop)
}

fn among(grammar: &Command, names: impl Iterator<Item = String>) -> Vec<UnknownVariable> {
    // The one variable without a flag: a text of many lines is no argument.
    let mut known = BTreeSet::from([TEXT_VARIABLE.to_owned()]);
    collect(grammar, &mut known);
    let foreign = names.filter(|name| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !OF_OTHERS.iter().any(|prefix| name.starts_with(prefix))
            && !known.contains(name)
    });
    let mut unknown: Vec<_> = foreign
        .filter_map(|name| {
            let prefix = PREFIXES.into_iter().find(|prefix| name.starts_with(prefix))?;
            // Names are compared without the common prefix, which would make all of them similar.
            let candidates = known.iter().filter_map(|known| known.strip_prefix(prefix)).map(ToOwned::to_owned);
            let meant = similar(&name[prefix.len()..], candidates).map(|rest| format!("{prefix}{rest}"));
            // A variable that resembles none of ours may be one of AWS's own.
            (meant.is_some() || prefix == PREFIXES[0]).then_some(UnknownVariable { name, meant })
        })
        .collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

/// Collects the variables of a command and of all its subcommands.
fn collect(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())));
    command.get_subcommands().for_each(|command| collect(command, known));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar;

    #[test]
    fn typing_errors_are_problems_and_variables_of_other_programs_are_not() {
        let found = |name: &str| {
            among(&grammar(), std::iter::once(name.to_owned())).pop().map(|unknown| unknown.meant.unwrap_or_default())
        };
        for (name, meant) in [
            ("APPLIANCE_LISTN", "APPLIANCE_LISTEN"),
            ("APPLIANCE_TOKEN", "APPLIANCE_TOKENS"),
            ("APPLIANCE_BODY_SIZE_LIMT", "APPLIANCE_BODY_SIZE_LIMIT"),
            #[cfg(feature = "deploy")]
            ("APPLIANCE_DEPLOY_PREFX", "APPLIANCE_DEPLOY_PREFIX"),
            ("SM_MLFLOW_ROLE_ARM", "SM_MLFLOW_ROLE_ARN"),
            ("APPLIANCE_CONFIG_TXT", "APPLIANCE_CONFIG_TEXT"),
            ("APPLIANCE_XYZ", ""),
        ] {
            assert_eq!(found(name).as_deref(), Some(meant), "{name}");
        }
        for name in [
            "APPLIANCE_LISTEN",
            "APPLIANCE_CONFIG",
            "APPLIANCE_CONFIG_TEXT",
            "APPLIANCE_CONNECTION_LIMIT",
            "SM_MLFLOW_RESOURCE_ARN",
            "SM_MLFLOW_XYZ",
            "APPLIANCE_SERVICE_HOST",
            "APPLIANCE_PORT_5000_TCP_ADDR",
            "APPLIANCE_TEST_VENV",
            "APPLIANCES",
            "PATH",
        ] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
