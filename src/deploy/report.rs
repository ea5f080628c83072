//! `status` and `outputs`: what there is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{DeployError, Settings};
use crate::api::cloudformation::{Pairs, Stack};

/// How often it is asked whether AWS has looked at everything.
const INTERVAL: Duration = Duration::from_secs(1);

/// A stack of the set.
pub struct Report {
    /// What it is called.
    pub stack: String,
    /// Such as `CREATE_COMPLETE`; nothing if there is no such stack.
    pub status: Option<String>,
    /// Why it has that status.
    pub reason: Option<String>,
    /// Its outputs.
    pub outputs: Pairs,
    /// What is no longer as the template says; nothing if that was not asked.
    pub drifted: Option<Vec<String>>,
}

/// The stacks of the set, in the order in which they are made; on demand with what was changed behind their back.
///
/// # Errors
/// [`DeployError::Cloud`].
pub async fn report(settings: &Settings<'_>, with_drift: bool) -> Result<Vec<Report>, DeployError> {
    let mut reports = Vec::new();
    for kind in settings.kinds() {
        let name = settings.stack(kind);
        let found = settings.cloud.stack(&name).await?;
        let drifted = match &found {
            Some(stack) if with_drift => Some(drift(settings, &name, stack).await?),
            _ => None,
        };
        reports.push(Report {
            drifted,
            stack: name,
            status: found.as_ref().map(|stack| stack.stack_status.clone()),
            reason: found.as_ref().and_then(|stack| stack.stack_status_reason.clone()),
            outputs: found.map(|stack| stack.outputs).unwrap_or_default(),
        });
    }
    Ok(reports)
}

async fn drift(settings: &Settings<'_>, name: &str, stack: &Stack) -> Result<Vec<String>, DeployError> {
    let detection = settings.cloud.detect_drift(&stack.stack_id).await?;
    while settings.cloud.detects_drift(&detection).await? {
        if Instant::now() >= settings.deadline {
            return Err(DeployError::Late { stack: name.to_owned(), status: "being looked at".to_owned() });
        }
        sleep(INTERVAL).await;
    }
    Ok(settings.cloud.drifted(&stack.stack_id).await?)
}
