//! `status` and `outputs`: what there is.

use super::{DeployError, Settings};
use crate::api::cloudformation::Pairs;

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
}

/// The stacks of the set, in the order in which they are made.
///
/// # Errors
/// [`DeployError::Cloud`].
pub async fn report(settings: &Settings<'_>) -> Result<Vec<Report>, DeployError> {
    let mut reports = Vec::new();
    for kind in settings.kinds() {
        let name = settings.stack(kind);
        let found = settings.cloud.stack(&name).await?;
        reports.push(Report {
            stack: name,
            status: found.as_ref().map(|stack| stack.stack_status.clone()),
            reason: found.as_ref().and_then(|stack| stack.stack_status_reason.clone()),
            outputs: found.map(|stack| stack.outputs()).unwrap_or_default(),
        });
    }
    Ok(reports)
}
