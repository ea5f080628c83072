//! The policy: decides whether a caller of a role may perform an action.

use std::fmt;

use super::caller::Role;
use super::routes::{self, Route};

/// Deny rules; without any, the role alone decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(pub Vec<Denial>);

/// A rule that denies an action although the role would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    resource: String,
    action: String,
    /// The highest role to which the rule applies.
    up_to: Role,
}

/// The reason why an action is denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role is too low.
    #[error("`{action}` needs the role `{needed}`, and this caller's is `{role}`")]
    Role {
        /// The action of the request.
        action: &'static str,
        /// The least role that may.
        needed: Role,
        /// The caller's role.
        role: Role,
    },
    /// A rule denies the action.
    #[error("`{action}` is denied by the rule `{rule}`")]
    Rule {
        /// The action of the request.
        action: &'static str,
        /// The rule, as written.
        rule: String,
    },
}

impl Denial {
    /// Reads a rule: `resource:action`, each perhaps with `*` at its end, and perhaps `@role` for callers up to that role.
    ///
    /// # Errors
    /// The problem of the rule; also if it denies no action of MLflow.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (what, role) = text.split_once('@').map_or((text, None), |(what, role)| (what, Some(role)));
        let (resource, action) =
            what.split_once(':').ok_or_else(|| "a rule has the form `resource:action`".to_owned())?;
        let up_to =
            role.map_or(Ok(Role::Admin), str::parse).map_err(|error: super::caller::NotARole| error.to_string())?;
        let rule = Self { resource: resource.to_owned(), action: action.to_owned(), up_to };
        let is_known = |rule: &Self| {
            let mut known = routes::lines().map(|line| line.route.action).chain([routes::UNCLASSIFIED.action]);
            known.any(|action| rule.is_about(action))
        };
        if is_known(&rule) { Ok(rule) } else { Err("MLflow has no such action".to_owned()) }
    }

    fn is_about(&self, action: &str) -> bool {
        action
            .split_once(':')
            .is_some_and(|(resource, action)| fits(&self.resource, resource) && fits(&self.action, action))
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.resource, self.action)?;
        if self.up_to < Role::Admin { write!(formatter, "@{}", self.up_to) } else { Ok(()) }
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}

impl Policy {
    /// Decides whether a role may use a route.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn decide(&self, role: Role, route: Route) -> Result<(), Denied> {
        let Route { role: needed, action } = route;
        if role < needed {
            return Err(Denied::Role { action, needed, role });
        }
        // SECURITY: an unclassified action could be one that a rule forbids, under a name that only the server knows.
        let is_meant = |denial: &&Denial| route == routes::UNCLASSIFIED || denial.is_about(action);
        match self.0.iter().filter(|denial| role <= denial.up_to).find(is_meant) {
            Some(denial) => Err(Denied::Rule { action, rule: denial.to_string() }),
            None => Ok(()),
        }
    }

    /// Returns true if a caller of this role may do anything, so that the action need not be determined.
    #[must_use]
    pub fn allows_everything(&self, role: Role) -> bool {
        role == Role::Admin && !self.0.iter().any(|denial| denial.up_to == Role::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[&str]) -> Policy {
        Policy(rules.iter().map(|rule| Denial::parse(rule).expect(rule)).collect())
    }

    fn allows(policy: &Policy, role: Role, method: &str, path: &str) -> bool {
        policy.decide(role, routes::of(method, path)).is_ok()
    }

    #[test]
    fn roles_are_enough_without_rules() {
        let policy = policy(&[]);
        let search = ("POST", "/api/2.0/mlflow/runs/search");
        let create = ("POST", "/api/2.0/mlflow/runs/create");
        let webhooks = ("GET", "/api/2.0/mlflow/webhooks");
        let unknown = ("GET", "/unknown");
        for (role, allowed) in [
            (Role::Read, [true, false, false, false]),
            (Role::Write, [true, true, false, false]),
            (Role::Admin, [true, true, true, true]),
        ] {
            let verdicts =
                [search, create, webhooks, unknown].map(|(method, path)| allows(&policy, role, method, path));
            assert_eq!(verdicts, allowed, "{role}");
        }
        assert!(policy.allows_everything(Role::Admin) && !policy.allows_everything(Role::Write));
    }

    #[test]
    fn rules_deny_what_the_role_would_allow() {
        let policy = policy(&["experiments:delete", "registered-models:*@write", "gateway*:*"]);
        let delete = ("POST", "/api/2.0/mlflow/experiments/delete");
        let rename = ("POST", "/api/2.0/mlflow/registered-models/rename");
        let invoke = ("POST", "/gateway/openai/v1/responses");
        let restore = ("POST", "/api/2.0/mlflow/experiments/restore");
        for (role, allowed) in [(Role::Write, [false, false, false, true]), (Role::Admin, [false, true, false, true])] {
            let verdicts = [delete, rename, invoke, restore].map(|(method, path)| allows(&policy, role, method, path));
            assert_eq!(verdicts, allowed, "{role}");
        }
        assert!(!policy.allows_everything(Role::Admin));
        let denied = policy.decide(Role::Write, routes::of(rename.0, rename.1)).expect_err("denied");
        assert_eq!(denied.to_string(), "`registered-models:rename` is denied by the rule `registered-models:*@write`");
    }

    #[test]
    fn a_rule_denies_unclassified_actions_as_well() {
        let unknown = ("POST", "/api/2.0/mlflow/experiments/obliterate");
        for (rules, allowed) in [
            (&[][..], true),
            (&["experiments:delete"], false),
            (&["experiments:delete@write"], true),
            (&["experiments:delete@write", "runs:get"], false),
        ] {
            assert_eq!(allows(&policy(rules), Role::Admin, unknown.0, unknown.1), allowed, "{rules:?}");
        }
        let denied = policy(&["runs:get"]).decide(Role::Admin, routes::UNCLASSIFIED).expect_err("denied");
        assert_eq!(denied.to_string(), "`unclassified:unknown` is denied by the rule `runs:get`");
    }

    #[test]
    fn a_rule_that_denies_nothing_is_a_mistake() {
        for rule in ["", "delete", "experiment:delete", "experiments:remove", "experiments:delete@root", ":"] {
            assert!(Denial::parse(rule).is_err(), "{rule}");
        }
        assert!(Denial::parse("unclassified:*").is_ok());
    }
}
