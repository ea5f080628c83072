//! `--dry-run`: what would be configured, with the origin of each value, while nothing is changed.

use serde::Serialize;

use super::plan::{Entry, Signals};
use super::{BootstrapError, Reader, Say, Settings, gather, imds};

/// What an instance would configure.
#[derive(Debug, Serialize)]
pub struct Explained {
    instance: String,
    zone: String,
    account: String,
    values: Vec<Explanation>,
    /// The CloudFormation stack and the logical id of the resource that waits.
    stack: Option<(String, String)>,
    /// Whether there is a wait condition; its URL would let anybody answer.
    is_awaited: bool,
    /// The Auto Scaling group and its lifecycle hook.
    lifecycle: Option<(String, String)>,
    /// The target group in which this instance has to be healthy before it tells them of its success.
    target_group: Option<String>,
    /// Whether `serve` could use it.
    is_valid: bool,
    /// [`BootstrapError::Configuration`], if it could not.
    #[serde(skip)]
    pub outcome: Result<(), BootstrapError>,
}

#[derive(Debug, Serialize)]
struct Explanation {
    key: String,
    value: String,
    origin: String,
}

impl Explained {
    /// The same in lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { instance, zone, account, .. } = self;
        let mut lines = vec![format!("instance = {instance} in {zone}, account {account} ← identity document")];
        lines
            .extend(self.values.iter().map(|Explanation { key, value, origin }| format!("{key} = {value} ← {origin}")));
        let stack = self.stack.as_ref();
        lines.extend(stack.map(|(stack, resource)| format!("tell CloudFormation stack {stack}, resource {resource}")));
        lines.extend(self.is_awaited.then(|| "tell the wait condition".to_owned()));
        let lifecycle = self.lifecycle.as_ref();
        lines.extend(lifecycle.map(|(group, hook)| format!("tell Auto Scaling group {group}, hook {hook}")));
        let group = self.target_group.as_ref();
        lines.extend(group.map(|group| format!("before that, wait until it is healthy in target group {group}")));
        lines
    }
}

/// Finds out what would be configured.
///
/// # Errors
/// [`BootstrapError`], if it is not even known what was said.
pub async fn explain(settings: &Settings, reader: &dyn Reader, say: Say<'_>) -> Result<Explained, BootstrapError> {
    let facts = gather::gather(settings, &imds(settings), say).await?;
    let plan = facts.plan(reader, say);
    let Signals { stack, wait_handle, lifecycle, target_group } = plan.signals.clone();
    let outcome = facts.checked(&plan, reader, None).map(drop);
    let values = plan.entries.into_iter().map(|Entry { key, value, .. }| Explanation {
        key,
        value: value.text,
        origin: value.origin,
    });
    Ok(Explained {
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
