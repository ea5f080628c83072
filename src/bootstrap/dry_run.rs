//! `--dry-run`: shows the configuration with the origin of each value, and changes nothing.

use serde::Serialize;

use super::error::BootstrapError;
use super::gather;
use super::plan::{PlanEntry, ReadinessSignals};
use super::services::imds;
use super::settings::{BootstrapSettings, ConfigurationReader, Say};

/// The configuration that an instance would write, and the signals that it would send.
#[derive(Debug, Serialize)]
pub struct DryRun {
    instance: String,
    zone: String,
    account: String,
    values: Vec<DryRunValue>,
    /// The CloudFormation stack and the logical id of the resource that waits.
    stack: Option<(String, String)>,
    /// True if there is a wait condition. SECURITY: its URL is left out, because anyone who has it can signal.
    is_awaited: bool,
    /// The Auto Scaling group and its lifecycle hook.
    lifecycle: Option<(String, String)>,
    /// The target group in which this instance has to be healthy before it signals success.
    target_group: Option<String>,
    /// True if `serve` can use the configuration.
    is_valid: bool,
    /// [`BootstrapError::Configuration`], if `serve` cannot use it.
    #[serde(skip)]
    pub outcome: Result<(), BootstrapError>,
}

#[derive(Debug, Serialize)]
struct DryRunValue {
    key: String,
    value: String,
    origin: String,
}

impl DryRun {
    /// Returns the same in lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { instance, zone, account, .. } = self;
        let mut lines = vec![format!("instance = {instance} in {zone}, account {account} ← identity document")];
        lines
            .extend(self.values.iter().map(|DryRunValue { key, value, origin }| format!("{key} = {value} ← {origin}")));
        let stack = self.stack.as_ref();
        lines
            .extend(stack.map(|(stack, resource)| format!("signal CloudFormation stack {stack}, resource {resource}")));
        lines.extend(self.is_awaited.then(|| "signal the wait condition".to_owned()));
        let lifecycle = self.lifecycle.as_ref();
        lines.extend(lifecycle.map(|(group, hook)| format!("signal Auto Scaling group {group}, hook {hook}")));
        let group = self.target_group.as_ref();
        lines.extend(
            group.map(|group| format!("before that, wait until the instance is healthy in target group {group}")),
        );
        lines
    }
}

/// Gathers and plans as `run` does.
///
/// # Errors
/// [`BootstrapError`], if the metadata service does not answer.
pub async fn dry_run(
    settings: &BootstrapSettings,
    reader: &dyn ConfigurationReader,
    say: Say<'_>,
) -> Result<DryRun, BootstrapError> {
    let facts = gather::gather(settings, &imds(settings), say).await?;
    let plan = facts.plan(reader, say);
    let ReadinessSignals { stack, wait_handle, lifecycle, target_group } = plan.signals.clone();
    let outcome = facts.checked(&plan, reader, &settings.units, None).map(drop);
    let values = plan.entries.into_iter().map(|PlanEntry { key, value, .. }| DryRunValue {
        key,
        value: value.text,
        origin: value.origin,
    });
    Ok(DryRun {
        instance: facts.identity.instance,
        zone: facts.identity.zone,
        account: facts.identity.account,
        values: values.collect(),
        stack,
        is_awaited: wait_handle.is_some(),
        lifecycle,
        target_group,
        is_valid: outcome.is_ok(),
        outcome,
    })
}
