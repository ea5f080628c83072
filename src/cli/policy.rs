//! `appliance policy`: whether a role may send a request, and the table by which that is decided.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::callers::policy;
use super::columns::table;
use super::command_error::{CommandError, ExitClass};
use super::known_values::roles;
use super::options::{RawValue, ValueOrigin};
use super::output::{show, show_document};
use super::problems::Problems;
use super::{examples, file};
use crate::access::caller::Role;
use crate::access::graphql;
use crate::access::policy::Policy;
use crate::access::routes::{self, Route, RouteLine, RoutePath, UNCLASSIFIED};
use crate::http::uri;
use crate::mlflow::locations;

/// Find out whether a role may send a request, and by which rule
///
/// The command decides as `appliance serve` does, and sends nothing. Without a request, it prints the table of MLflow's routes with the
/// least role and the action of each; with `--role` only those that this role may use.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::POLICY)]
pub(super) struct PolicyCommand {
    /// The HTTP method of the request
    #[arg(requires = "path")]
    method: Option<String>,
    /// The path of the request, as in `/api/2.0/mlflow/runs/search`
    path: Option<String>,
    /// The role of the caller [default: each of them]
    #[arg(long, value_parser = roles())]
    role: Option<Role>,
    /// The rules that deny actions, as in `serve --deny` [default: those of the file]
    #[arg(long, env = "APPLIANCE_DENY", hide_env_values = true, value_name = "RULES")]
    deny: Option<String>,
    /// The TOML file with the options of `appliance serve`
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The body of the request, which decides about GraphQL
    #[arg(long, value_name = "JSON", requires = "path")]
    data: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The decision about a request of one role.
struct RoleDecision {
    role: Role,
    actions: Vec<&'static str>,
    /// The reason of a denial.
    denied: Option<String>,
}

impl PolicyCommand {
    /// Prints the decision, or the table.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let rules = self.rules()?;
        let all = self.role.map_or_else(|| vec![Role::Read, Role::Write, Role::Admin], |role| vec![role]);
        let (Some(method), Some(path)) = (&self.method, &self.path) else {
            show_routes(self.role.map(|role| (&rules, role)), self.json);
            return Ok(());
        };
        let routes = classified(method, path, self.data.as_deref())?;
        let decisions: Vec<_> = all.into_iter().map(|role| decision(&rules, role, &routes)).collect();
        match (self.json, self.role) {
            (true, Some(_)) => show_document(&described(&decisions[0])),
            (true, None) => show_document(&decisions.iter().map(described).collect()),
            (false, Some(_)) => show(&line(&decisions[0])),
            (false, None) => decisions.iter().for_each(|one| show(&format!("{:5}  {}", one.role.as_str(), line(one)))),
        }
        let is_denied = self.role.is_some() && decisions[0].denied.is_some();
        if is_denied { Err(CommandError::reported(ExitClass::Failed)) } else { Ok(()) }
    }

    fn rules(&self) -> Result<Policy, CommandError> {
        let mut problems = Problems::default();
        let given = self.deny.as_ref().filter(|text| !text.is_empty());
        let given = given.map(|text| RawValue { text: text.clone(), origin: ValueOrigin::Flag("--deny".to_owned()) });
        let rules = match given {
            Some(given) => policy(Some(&given), &mut problems),
            None => file::read(self.config.as_deref(), &mut problems)
                .map(|options| policy(options.callers.deny.as_ref(), &mut problems))
                .map_err(|problems| CommandError::configuration(&problems))?,
        };
        problems.none_or_all().map_err(|problems| CommandError::configuration(&problems))?;
        Ok(rules)
    }
}

/// The routes that a request takes; several if a document names several fields.
fn classified(method: &str, path: &str, data: Option<&str>) -> Result<Vec<Route>, CommandError> {
    let wrong = |text: &str, hint: &str| CommandError::of(ExitClass::Usage, text, Some(hint));
    if !path.starts_with('/') {
        return Err(wrong(
            "the path must begin with `/`",
            "write the path without the host, as in `/api/2.0/mlflow/runs/search`",
        ));
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let normal = uri::normalize_path(path)
        .map_err(|error| wrong(&error.to_string(), "correct the path; `serve` answers 400 to it"))?;
    // A target's name in the path has no effect on its routes.
    let inner = match normal.strip_prefix("/t/").and_then(|rest| rest.split_once('/')) {
        Some((name, _)) => &normal["/t/".len() + name.len()..],
        None => &normal,
    };
    let path = RoutePath::read(inner);
    if !locations::is_graphql(path.as_str()) {
        return Ok(vec![routes::of(&method.to_ascii_uppercase(), path.as_str())]);
    }
    let Some(data) = data.filter(|_| query.is_empty()) else {
        return Err(wrong(
            "the document decides about a GraphQL request",
            "add the body with `--data`, as in `--data '{\"query\": \"{ mlflowGetRun { __typename } }\"}'`",
        ));
    };
    Ok(graphql::routes(data.as_bytes()))
}

fn decision(rules: &Policy, role: Role, routes: &[Route]) -> RoleDecision {
    let reason = |route: &Route| {
        let denied = rules.decide(role, *route).err()?;
        let unknown = if *route == UNCLASSIFIED { "; this version knows no such request of MLflow" } else { "" };
        Some(format!("{denied}{unknown}"))
    };
    let denied = routes.iter().find_map(reason);
    let mut actions: Vec<_> = routes.iter().map(|route| route.action).collect();
    actions.dedup();
    RoleDecision { role, actions, denied }
}

fn line(decision: &RoleDecision) -> String {
    let RoleDecision { actions, denied, .. } = decision;
    match denied {
        Some(reason) => format!("denied   {reason}"),
        None => format!("allowed  `{}`", actions.join("`, `")),
    }
}

fn described(decision: &RoleDecision) -> Value {
    let RoleDecision { role, actions, denied } = decision;
    json!({"role": role.as_str(), "allowed": denied.is_none(), "actions": actions, "reason": denied})
}

/// Prints the table of routes: all, or those that a role may use.
fn show_routes(may: Option<(&Policy, Role)>, json: bool) {
    let is_shown = |line: &RouteLine| may.is_none_or(|(rules, role)| rules.decide(role, line.route).is_ok());
    let lines: Vec<_> = routes::lines().filter(is_shown).collect();
    if json {
        let described = |line: &RouteLine| {
            let RouteLine { method, path, route } = line;
            json!({"method": method, "path": path, "role": route.role.as_str(), "action": route.action})
        };
        return show_document(&lines.iter().map(described).collect());
    }
    let heading = ["METHOD", "ROUTE", "ROLE", "ACTION"].map(ToOwned::to_owned);
    let row = |line: &RouteLine| {
        let RouteLine { method, path, route } = line;
        [method, path, route.role.as_str(), route.action].map(ToOwned::to_owned)
    };
    show(&table(&std::iter::once(heading).chain(lines.iter().map(row)).collect::<Vec<_>>()));
}
