//! Asks IAM's simulator whether all actions are allowed. The simulator does not know every policy, so this only warns.

use serde::Deserialize;
use serde_json::Value;

use super::context::{CheckResult, PreflightContext};
use crate::deploy::templates::StackKind;

/// The policy of the deployer, for this account and the prefix `mlflow`; and what Fargate needs in addition.
const POLICY: &str = include_str!("../../../infra/deployer-policy.json");
const FARGATE_POLICY: &str = include_str!("../../../infra/deployer-policy-fargate.json");
const ACCOUNT: &str = "123456789012";
/// The most actions that are named; the others are counted.
const NAMED: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeployerPolicy {
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: Value,
    resource: Value,
    #[serde(default)]
    condition: Value,
}

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let what = "whether all permissions are granted";
    let account = &context.settings.account;
    let answer = account.caller().await;
    let Some(caller) = report.known(what, "sts:GetCallerIdentity", answer) else { return report };
    let number = caller.split(':').nth(4).unwrap_or_default().to_owned();
    let acting = context.settings.role.clone().or_else(|| simulated(&caller));
    // The root user may do everything.
    let Some(mut acting) = acting else { return report };
    // A session does not show the path of its role, which the simulator needs: roles of IAM Identity Center have one.
    if context.settings.role.is_none()
        && let Some((_, name)) = acting.split_once(":role/")
        && let Ok(Some(found)) = account.role(name).await
    {
        acting = found;
    }
    let has_tasks = context.stacks.iter().any(|stack| stack.kind == StackKind::Fargate);
    let (policies, files): (&[&str], _) = if has_tasks {
        (&[POLICY, FARGATE_POLICY], "infra/deployer-policy.json and infra/deployer-policy-fargate.json")
    } else {
        (&[POLICY], "infra/deployer-policy.json")
    };
    let mut denied = Vec::new();
    for statement in policies.iter().flat_map(|policy| statements(policy)) {
        let actions: Vec<String> =
            texts(&statement.action).into_iter().filter(|action| is_needed(context, action)).collect();
        let resource = texts(&statement.resource).into_iter().next().unwrap_or_default();
        let resource = example(&resource, &number, &context.settings.prefix, context.region());
        if actions.is_empty() {
            continue;
        }
        let mut assumed = simulation_context(&statement.condition);
        for (_, value) in &mut assumed {
            *value = example(value, &number, &context.settings.prefix, context.region());
        }
        let answer = account.denied(&acting, &actions, &resource, &assumed).await;
        let Some(more) = report.known(what, "iam:SimulatePrincipalPolicy", answer) else { return report };
        denied.extend(more);
    }
    if !denied.is_empty() {
        let named: Vec<&str> = denied.iter().take(NAMED).map(String::as_str).collect();
        let more = denied.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        report.notes.push(format!(
            "warning: IAM's simulator says that {acting} may not call {}{more}\n  hint: give it the policy of \
             {files}; policies of the organisation count as well",
            named.join(", ")
        ));
    }
    report
}

fn statements(policy: &str) -> Vec<Statement> {
    let policy: DeployerPolicy = serde_json::from_str(policy).expect("a test reads it");
    policy.statement
}

/// Returns the ARN whose policies are simulated: that of a user, or of the role of a session.
fn simulated(caller: &str) -> Option<String> {
    if let Some((partition, session)) = caller.split_once(":sts::") {
        let (account, rest) = session.split_once(":assumed-role/")?;
        let role = rest.split('/').next()?;
        return Some(format!("{partition}:iam::{account}:role/{role}"));
    }
    (!caller.ends_with(":root")).then(|| caller.to_owned())
}

/// Returns true for an action that is used. Patterns cannot be simulated, and some services are used only on demand.
fn is_needed(context: PreflightContext<'_>, action: &str) -> bool {
    let is_used = match action.split(':').next() {
        // `deploy` calls these itself, whichever role CloudFormation assumes.
        Some("cloudformation" | "servicequotas" | "tag") => context.settings.role.is_none(),
        Some("iam") if action == "iam:SimulatePrincipalPolicy" => false,
        Some("elasticfilesystem") => context.settings.has_domain,
        Some("wafv2") => context.value("WebAcl") == Some("managed"),
        _ => true,
    };
    is_used && !action.contains('*')
}

/// Returns a resource that matches a pattern of the policy.
fn example(pattern: &str, account: &str, prefix: &str, region: &str) -> String {
    if pattern == "*" {
        return pattern.to_owned();
    }
    let own = pattern.replace(ACCOUNT, account).replace("mlflow-", &format!("{prefix}-"));
    let own = own.replacen(":*:", &format!(":{region}:"), 1);
    own.replace('*', "x")
}

/// Returns the context of calls that satisfy a statement's conditions.
fn simulation_context(condition: &Value) -> Vec<(String, String)> {
    let operators = condition.as_object().into_iter().flatten();
    let keys = operators.flat_map(|(_, keys)| keys.as_object().into_iter().flatten());
    keys.filter_map(|(key, value)| Some((key.clone(), texts(value).into_iter().next()?))).collect()
}

/// Returns the texts of a value that is one text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
    list.into_iter().filter_map(|one| one.as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_simulated_by_its_role() {
        let of = |caller: &str| simulated(caller);
        assert_eq!(of("arn:aws:sts::1:assumed-role/deployer/me").as_deref(), Some("arn:aws:iam::1:role/deployer"));
        assert_eq!(of("arn:aws:iam::1:user/a/b").as_deref(), Some("arn:aws:iam::1:user/a/b"));
        assert_eq!(of("arn:aws:iam::1:root"), None);
    }

    #[test]
    fn the_policy_is_read_and_its_patterns_become_examples() {
        let policy = statements(POLICY);
        let resources: Vec<String> = policy.iter().flat_map(|one| texts(&one.resource)).collect();
        let examples: Vec<String> = resources.iter().map(|one| example(one, "1", "ml", "eu-west-1")).collect();
        assert!(examples.contains(&"arn:aws:cloudformation:eu-west-1:1:stack/ml-x".to_owned()), "{examples:?}");
        let passed = policy.iter().find(|one| texts(&one.action) == ["iam:PassRole"]).unwrap();
        assert_eq!(
            simulation_context(&passed.condition),
            [("iam:PassedToService".to_owned(), "ec2.amazonaws.com".to_owned())]
        );
        let tasks = statements(FARGATE_POLICY);
        assert!(tasks.iter().any(|one| texts(&one.action).contains(&"ecs:CreateService".to_owned())));
    }
}
