//! The context that all checks share, and the result of one check.

use tokio::sync::OnceCell;

use super::super::obstacle::Obstacle;
use super::super::planned_stacks::PlannedStack;
use super::super::rules::KnownValues;
use super::super::settings::DeploySettings;
use super::super::templates::{StackKind, TemplateResource};
use crate::api::service::ServiceError;

/// The results of one check.
#[derive(Default)]
pub(super) struct CheckResult {
    /// The obstacles that the check found.
    pub(super) obstacles: Vec<Obstacle>,
    /// Lines to show.
    pub(super) notes: Vec<String>,
}

impl CheckResult {
    /// Adds an obstacle.
    pub(super) fn found(&mut self, what: String, fix: impl Into<String>) {
        self.obstacles.push(Obstacle { what, fix: fix.into() });
    }

    /// Returns the answer, or adds a note that there is none. `action` is the IAM action of the question.
    pub(super) fn known<T>(&mut self, what: &str, action: &str, answer: Result<T, ServiceError>) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        let needed = if error.is_denial() { format!(" (allow `{action}`)") } else { String::new() };
        self.notes.push(format!("warning: preflight cannot tell {what}: {error}{needed}"));
        None
    }
}

/// The planned stacks, which the checks read.
#[derive(Clone, Copy)]
pub(super) struct PreflightContext<'a> {
    pub(super) settings: &'a DeploySettings<'a>,
    pub(super) stacks: &'a [PlannedStack],
    /// The image that the instances will have, if it is known.
    pub(super) image: Option<&'a str>,
    /// The zones of the instances' subnets, once a check has asked for them ([`super::zones::of_the_network`]).
    pub(super) zones: &'a OnceCell<Option<Vec<String>>>,
}

impl PreflightContext<'_> {
    /// Returns the value of a parameter, in the first stack that has it.
    pub(super) fn value(&self, parameter: &str) -> Option<&str> {
        let values = self.stacks.iter().find_map(|stack| stack.known.get(parameter));
        values.map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Returns true if a stack does not exist yet.
    pub(super) fn is_new(&self, kind: StackKind) -> bool {
        self.stacks.iter().any(|stack| stack.kind == kind && stack.is_new)
    }

    /// Returns the resources that new stacks will certainly create.
    pub(super) fn additions(&self) -> impl Iterator<Item = &TemplateResource> {
        self.stacks.iter().filter(|stack| stack.is_new).flat_map(|stack| {
            let known = KnownValues { template: &stack.template, values: &stack.known };
            stack.template.resources.values().filter(move |resource| known.makes(resource) == Some(true))
        })
    }

    /// Returns the region of the stacks.
    pub(super) fn region(&self) -> &str {
        self.settings.account.region
    }
}
