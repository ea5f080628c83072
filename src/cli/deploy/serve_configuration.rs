//! The check of the parameter `ServeConfiguration` before anything is created: an instance that cannot read its configuration
//! fails after minutes, and rolls its stack back.

use std::path::Path;

use super::super::command_error::{CommandError, ExitClass};
use super::super::problems::{Problem, Problems};
use super::super::{file, settings};
use crate::api::cloudformation::Pairs;
use crate::deploy::Compute;

const PARAMETER: &str = "ServeConfiguration";
/// The options that the template sets, with values of the same kind: one that is set twice is an error of TOML.
const OF_THE_TEMPLATE: &str = r#"listen = "0.0.0.0:5000"
keep-alive = "330s"
log-format = "json"
resource-arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/name"
role-arn = "arn:aws:iam::123456789012:role/name"
tokens = "secretsmanager:arn:aws:secretsmanager:us-east-1:123456789012:secret:name"
session-key = "secretsmanager:arn:aws:secretsmanager:us-east-1:123456789012:secret:name"
trusted-proxies = "10.0.0.0/8"
artifact-store = "s3://bucket/prefix"
"#;
const OF_OIDC: &str = r#"oidc-signer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/name/1234567890123456"
oidc-issuer = "https://idp.example.com"
oidc-client-id = "name"
"#;
const OF_PERSONAL_TOKENS: &str =
    "personal-tokens = \"secretsmanager:arn:aws:secretsmanager:us-east-1:123456789012:secret:other\"\n";
const OF_LOGS: &str = "cloudwatch-log-group = \"group\"\n";
/// ECS sends the log of a task.
const OF_TASKS: &str = "cloudwatch-log-content = \"audit\"\n";
const OF_OIDC_CALLERS: &str = "[[caller]]\nclaim = \"*\"\nrole = \"read\"\n";

/// Removes what XML does not keep, in which CloudFormation returns the parameter: otherwise the same file would be a change, which
/// replaces the instances.
pub(super) fn normalize(given: &mut Pairs) {
    if let Some(text) = given.get_mut(PARAMETER) {
        text.replace("\r\n", "\n").trim().clone_into(text);
    }
}

/// Checks the configuration that the instances or tasks would get.
///
/// # Errors
/// All problems, each with its line in the parameter.
pub(super) fn check(given: &Pairs, compute: Option<Compute>) -> Result<(), CommandError> {
    let problems = problems(given, compute == Some(Compute::Fargate) || given.contains_key("ContainerImage"));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CommandError::of(ExitClass::Configuration, &problems.join("\n"), None))
    }
}

fn problems(given: &Pairs, has_tasks: bool) -> Vec<String> {
    let text = |name: &str| given.get(name).map_or("", String::as_str);
    let ours = text(PARAMETER);
    if ours.is_empty() {
        return Vec::new();
    }
    let mut before = OF_THE_TEMPLATE.to_owned();
    let has_oidc = !text("OidcIssuer").is_empty();
    let parts = [
        (has_oidc, OF_OIDC),
        (text("PersonalTokens") == "on", OF_PERSONAL_TOKENS),
        (has_tasks || text("LogRetentionDays") != "0", OF_LOGS),
        (has_tasks, OF_TASKS),
    ];
    for (applies, options) in parts {
        before.push_str(if applies { options } else { "" });
    }
    let whole = format!("{before}{ours}\n{}", if has_oidc { OF_OIDC_CALLERS } else { "" });
    let mut problems = Problems::default();
    let options = file::parse(&whole, Path::new(PARAMETER), &mut problems);
    let Err(mut problems) = settings::resolve(&options, problems, 0) else { return Vec::new() };
    // Files and variables are those of the instances.
    problems.retain(|problem| !problem.is_local);
    let offset = before.matches('\n').count();
    problems.iter().map(|problem| shown(problem, offset)).collect()
}

/// A problem with its line in the parameter, if it has one.
fn shown(Problem { origin, text, hint, .. }: &Problem, offset: usize) -> String {
    let line = origin.strip_prefix(PARAMETER).and_then(|rest| rest.strip_prefix(':'));
    let line = line.and_then(|line| line.parse::<usize>().ok()).and_then(|line| line.checked_sub(offset));
    let place = match line {
        Some(line @ 1..) => format!("{PARAMETER}, line {line}"),
        _ => PARAMETER.to_owned(),
    };
    format!("{place}: {text}\n  hint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::StackKind;

    fn said(pairs: &[(&str, &str)]) -> String {
        let pairs: Pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        problems(&pairs, pairs.contains_key("ContainerImage")).join("\n")
    }

    #[test]
    fn a_configuration_that_the_instances_can_use_is_accepted() {
        let issuer = "[[issuer]]\nname = \"gha\"\nurl = \"https://token.actions.githubusercontent.com\"\naudience = \"mlflow\"\n\n\
                      [[caller]]\nissuer = \"gha\"\nclaim = [\"repository=corp/models\", \"ref=refs/heads/main\"]\nrole = \"write\"\n";
        for (text, more) in [
            ("", ("PersonalTokens", "on")),
            (issuer, ("PersonalTokens", "off")),
            (issuer, ("OidcIssuer", "https://idp.example.com")),
            ("sign-in-help = \"Ask ops.\"\npersonal-token-lifetime = \"30d\"", ("PersonalTokens", "on")),
            ("cloudwatch-log-content = \"audit\"", ("PersonalTokens", "off")),
            ("cloudwatch-log-group = \"mine\"", ("LogRetentionDays", "0")),
            (
                "aws-audience = \"mlflow\"\n[[caller]]\nprincipal = \"arn:aws:iam::123456789012:role/ml-*\"\nrole = \"read\"",
                ("a", ""),
            ),
        ] {
            assert_eq!(said(&[("ServeConfiguration", text), more]), "", "{text}");
        }
    }

    #[test]
    fn every_option_that_the_template_sets_is_known_here() {
        let ours: String = [OF_THE_TEMPLATE, OF_OIDC, OF_PERSONAL_TOKENS, OF_LOGS, OF_TASKS].concat();
        let others = ["claim", "role", "parameters", "stack-name", "logical-id", "target-group"];
        let is_part = |one: char| one.is_ascii_lowercase() || one == '-';
        for kind in [StackKind::Appliance, StackKind::Fargate] {
            let text = kind.text().replace("\\n", "\n");
            let keys =
                text.match_indices(" = ").map(|(at, _)| text[..at].rsplit(|one| !is_part(one)).next().unwrap_or(""));
            let options: Vec<_> = keys.filter(|key| !others.contains(key)).collect();
            assert!(options.len() > 10, "{options:?}");
            for option in options {
                assert!(ours.lines().any(|line| line.starts_with(&format!("{option} = "))), "{kind:?}: {option}");
            }
        }
    }

    #[test]
    fn each_problem_names_its_line_in_the_parameter() {
        for (text, expected) in [
            ("\nlisten = \"0.0.0.0:1\"", "ServeConfiguration, line 2: "),
            ("worker = 3", "ServeConfiguration, line 1: "),
            ("workers = 2\n[[caller]]\nissuer = \"gha\"\nclaim = \"a=b\"\nrole = \"read\"", "gha"),
            ("cloudwatch-log-group = \"mine\"", "ServeConfiguration, line 1: "),
            ("personal-token-lifetime = \"x\"", "ServeConfiguration, line 1: "),
        ] {
            let said = said(&[("ServeConfiguration", text)]);
            assert!(said.contains(expected) && said.contains("hint: "), "{text}: {said}");
        }
        let twice = ("ServeConfiguration", "cloudwatch-log-content = \"log\"");
        assert_eq!(said(&[twice]), "");
        let said = said(&[twice, ("ContainerImage", "ghcr.io/corp/appliance:1")]);
        assert!(said.contains("ServeConfiguration, line 1: "), "{said}");
    }
}
