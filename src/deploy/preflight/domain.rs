//! Checks that no Studio domain has the name that the stack gives to its own.

use super::context::{CheckResult, PreflightContext};
use crate::deploy::templates::StackKind;

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    if !context.is_new(StackKind::SagemakerDomain) {
        return report;
    }
    // The template names the domain after its stack.
    let name = context.settings.stack(StackKind::SagemakerDomain);
    let answer = context.settings.account.studio_domain(&name).await;
    let what = "whether a Studio domain has the name of the new one";
    if let Some(Some(id)) = report.known(what, "sagemaker:ListDomains", answer) {
        let what = format!("{} has the Studio domain {id} with the name {name} already", context.region());
        report.found(what, "delete that domain if an earlier start has left it, or choose another `--prefix`");
    }
    report
}
