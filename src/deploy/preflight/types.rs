//! Checks that CloudFormation has the resource types of SageMaker and ECS in this region, to which they come one by one.

use std::collections::BTreeSet;

use super::context::{CheckResult, PreflightContext};

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let types = context.additions().map(|resource| resource.r#type.as_str());
    let types: BTreeSet<&str> =
        types.filter(|name| name.starts_with("AWS::SageMaker::") || *name == "AWS::ECS::Service").collect();
    for name in types {
        let answer = context.settings.cloud.has_type(name).await;
        let what = format!("whether CloudFormation has {name} here");
        match report.known(&what, "cloudformation:DescribeType", answer) {
            Some(true) => {}
            Some(false) => report.found(
                format!("CloudFormation has no {name} in {}", context.region()),
                if name.contains("Mlflow") {
                    "choose another region or mode, or make the MLflow otherwise and name it with `--parameter ExistingResourceArn=…`"
                } else if name.contains("ECS") {
                    "choose another region, or `--compute instances`"
                } else {
                    "choose another region, or leave out `--domain`"
                },
            ),
            // AWS would not answer the next question either.
            None => break,
        }
    }
    report
}
