//! `status` and `outputs`: the state of the stacks.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::chosen_compute;
use super::compute::Compute;
use super::error::DeployError;
use super::settings::DeploySettings;
use super::templates::StackKind;
use crate::api::cloudformation::{Pairs, Stack};

/// The interval between two questions whether the drift detection has ended.
const INTERVAL: Duration = Duration::from_secs(1);

/// The state of one stack of the set.
pub struct StackReport {
    /// The name of the stack.
    pub stack: String,
    /// Such as `CREATE_COMPLETE`; nothing if there is no such stack.
    pub status: Option<String>,
    /// The reason for that status.
    pub reason: Option<String>,
    /// Its outputs.
    pub outputs: Pairs,
    /// The resources that differ from the template; nothing if drift was not asked for.
    pub drifted: Option<Vec<String>>,
}

/// Returns the stacks of the set in the order of their creation, on demand with their drift.
///
/// # Errors
/// [`DeployError::Cloud`].
pub async fn report(settings: &DeploySettings<'_>, with_drift: bool) -> Result<Vec<StackReport>, DeployError> {
    let mut reports = Vec::new();
    // Without a choice, a kind of compute that the deployment does not have is left out, but for the default.
    let present = chosen_compute::present(settings).await?;
    let is_shown = |kind: &StackKind| match Compute::of(*kind) {
        Some(of) if settings.compute.is_none() => {
            present.contains(&of) || (present.is_empty() && of == Compute::Instances)
        }
        _ => true,
    };
    for kind in settings.kinds().filter(is_shown) {
        let name = settings.stack(kind);
        let found = settings.cloud.stack(&name).await?;
        let drifted = match &found {
            Some(stack) if with_drift => Some(drift(settings, &name, stack).await?),
            _ => None,
        };
        reports.push(StackReport {
            drifted,
            stack: name,
            status: found.as_ref().map(|stack| stack.stack_status.clone()),
            reason: found.as_ref().and_then(|stack| stack.stack_status_reason.clone()),
            outputs: found.map(|stack| stack.outputs).unwrap_or_default(),
        });
    }
    Ok(reports)
}

async fn drift(settings: &DeploySettings<'_>, name: &str, stack: &Stack) -> Result<Vec<String>, DeployError> {
    let detection = settings.cloud.detect_drift(&stack.stack_id).await?;
    while settings.cloud.detects_drift(&detection).await? {
        if Instant::now() >= settings.deadline {
            return Err(DeployError::Late { stack: name.to_owned(), status: "being checked for drift".to_owned() });
        }
        sleep(INTERVAL).await;
    }
    Ok(settings.cloud.drifted(&stack.stack_id).await?)
}
