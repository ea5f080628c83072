//! Environment variables that are named like the appliance's own and are none of them: typing errors, mostly.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};

use super::Cli;
use super::options::similar;
use super::problems::{Problem, Problems};

/// Our own variables begin with these; the second prefix is that of AWS's sample, which others may use for more.
const PREFIXES: [&str; 2] = ["APPLIANCE_", "SM_MLFLOW_"];
/// What may begin so for another reason: Kubernetes describes a service `appliance` to all containers beside it by such
/// names, and the tests of this program are told by others where things are.
const OF_OTHERS: [&str; 5] =
    ["APPLIANCE_SERVICE_", "APPLIANCE_PORT", "APPLIANCE_TEST_", "APPLIANCE_BIN", "APPLIANCE_LEAN_BIN"];

/// A variable that means nothing here.
pub(super) struct Unknown {
    /// Its name.
    pub name: String,
    /// The variable that was probably meant.
    pub meant: Option<String>,
}

/// Notes the variables that were probably meant for another name.
pub(super) fn check(problems: &mut Problems) {
    for Unknown { name, meant } in unknown() {
        if let Some(meant) = meant {
            problems.add_local(&name, "it is no variable of the appliance", format!("did you mean `{meant}`?"));
        }
    }
}

/// The same for commands that have no other configuration.
///
/// # Errors
/// All such variables.
pub(super) fn checked() -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    check(&mut problems);
    problems.none_or_all()
}

/// Variables of this process that begin as ours do and are none.
#[must_use]
pub(super) fn unknown() -> Vec<Unknown> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    among(set.filter_map(|(name, _)| name.into_string().ok()))
}

fn among(names: impl Iterator<Item = String>) -> Vec<Unknown> {
    let mut known = BTreeSet::new();
    collect(&Cli::command(), &mut known);
    let is_of = |name: &str, prefix: &str| name.starts_with(prefix);
    let foreign = names.filter(|name| {
        PREFIXES.iter().any(|prefix| is_of(name, prefix))
            && !OF_OTHERS.iter().any(|prefix| is_of(name, prefix))
            && !known.contains(name)
    });
    let mut unknown: Vec<_> = foreign
        .filter_map(|name| {
            let prefix = PREFIXES.into_iter().find(|prefix| is_of(&name, prefix))?;
            // Without what all have in common, or everything would be similar.
            let candidates = known.iter().filter_map(|known| known.strip_prefix(prefix)).map(ToOwned::to_owned);
            let meant = similar(&name[prefix.len()..], candidates).map(|rest| format!("{prefix}{rest}"));
            // Unlike anything of ours, it may be a variable of AWS's own.
            (meant.is_some() || prefix == PREFIXES[0]).then_some(Unknown { name, meant })
        })
        .collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

/// The variables of a command and all beneath it.
fn collect(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())));
    command.get_subcommands().for_each(|command| collect(command, known));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_told_from_the_variables_of_others() {
        let found =
            |name: &str| among(std::iter::once(name.to_owned())).pop().map(|unknown| unknown.meant.unwrap_or_default());
        for (name, meant) in [
            ("APPLIANCE_LISTN", "APPLIANCE_LISTEN"),
            ("APPLIANCE_TOKEN", "APPLIANCE_TOKENS"),
            ("APPLIANCE_BODY_SIZE_LIMT", "APPLIANCE_BODY_SIZE_LIMIT"),
            #[cfg(feature = "deploy")]
            ("APPLIANCE_DEPLOY_PREFX", "APPLIANCE_DEPLOY_PREFIX"),
            ("SM_MLFLOW_ROLE_ARM", "SM_MLFLOW_ROLE_ARN"),
            ("APPLIANCE_XYZ", ""),
        ] {
            assert_eq!(found(name).as_deref(), Some(meant), "{name}");
        }
        for name in [
            "APPLIANCE_LISTEN",
            "APPLIANCE_CONFIG",
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
