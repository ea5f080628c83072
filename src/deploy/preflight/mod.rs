//! Checks before the first stack is touched: the image, the region, zones, endpoints, quotas, the certificate, permissions.
//! Each obstacle is told with its cause and its fix. A question that AWS does not answer is told as well, and left to
//! CloudFormation.

mod certificate;
mod endpoints;
mod image;
mod permissions;
mod quotas;
mod types;
mod zones;

use std::fmt;

use tokio::sync::OnceCell;

use super::foresee::Prospect;
use super::rules::Known;
use super::templates::{Kind, Resource};
use super::{Settings, Talk};
use crate::api::service::ServiceError;

/// An obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The obstacle and its cause.
    pub what: String,
    /// An instruction that removes it.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n    hint: {}", self.what, self.fix)
    }
}

/// The results of one check.
#[derive(Default)]
struct Report {
    /// Obstacles.
    findings: Vec<Finding>,
    /// Lines for people.
    notes: Vec<String>,
}

impl Report {
    fn found(&mut self, what: String, fix: impl Into<String>) {
        self.findings.push(Finding { what, fix: fix.into() });
    }

    /// The answer, or a note that there is none. `action` is what IAM calls the question.
    fn known<T>(&mut self, what: &str, action: &str, answer: Result<T, ServiceError>) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        let needed = if error.is_denial() { format!(" (allow `{action}`)") } else { String::new() };
        self.notes.push(format!("warning: it cannot be seen before the start {what}: {error}{needed}"));
        None
    }
}

/// The stacks as they are planned, at which the checks look.
#[derive(Clone, Copy)]
struct Plans<'a> {
    settings: &'a Settings<'a>,
    prospects: &'a [Prospect],
    /// The image that the instances will have, as far as it is known.
    image: Option<&'a str>,
    /// The zones of the instances' subnets, once a check has asked for them ([`zones::of_the_network`]).
    zones: &'a OnceCell<Option<Vec<String>>>,
}

impl Plans<'_> {
    /// The value of a parameter, in the first stack that has it.
    fn value(&self, parameter: &str) -> Option<&str> {
        let values = self.prospects.iter().find_map(|prospect| prospect.known.get(parameter));
        values.map(String::as_str).filter(|text| !text.is_empty())
    }

    /// True if a stack has to be made first.
    fn is_new(&self, kind: Kind) -> bool {
        self.prospects.iter().any(|prospect| prospect.kind == kind && prospect.is_new)
    }

    /// The resources that stacks will have which are not there yet, as far as it is sure.
    fn additions(&self) -> impl Iterator<Item = &Resource> {
        self.prospects.iter().filter(|prospect| prospect.is_new).flat_map(|prospect| {
            let known = Known { template: &prospect.template, values: &prospect.known };
            prospect.template.resources.values().filter(move |resource| known.makes(resource) == Some(true))
        })
    }

    fn region(&self) -> &str {
        self.settings.account.region
    }
}

/// Asks, and tells what cannot be known; the obstacles.
pub(super) async fn preflight(
    settings: &Settings<'_>,
    prospects: &[Prospect],
    image: Option<&str>,
    talk: &mut dyn Talk,
) -> Vec<Finding> {
    let plans = Plans { settings, prospects, image, zones: &OnceCell::new() };
    // Together, because a service that is out of reach takes its time to say so.
    let (image, types, zones, endpoints, quotas, certificate, permissions) = tokio::join!(
        image::check(plans),
        types::check(plans),
        zones::check(plans),
        endpoints::check(plans),
        quotas::check(plans),
        certificate::check(plans),
        permissions::check(plans),
    );
    let mut findings = Vec::new();
    for report in [image, types, zones, endpoints, quotas, certificate, permissions] {
        report.notes.iter().for_each(|note| talk.say(note));
        findings.extend(report.findings);
    }
    findings
}
