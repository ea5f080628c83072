//! The tags of the stacks, which CloudFormation copies to everything in them, instances included.

use super::settings::DeploySettings;
use crate::api::cloudformation::{Pairs, Stack};

/// The tag that names the set of a resource. Resources that outlive their stack are found by it.
pub(super) const SET: &str = "mlflow-appliance-set";
/// The most tags that AWS accepts for a stack.
const LIMIT: usize = 50;

/// Returns the tags of a stack: those that it has, our own, and those of the command line.
pub(super) fn of(settings: &DeploySettings<'_>, before: Option<&Stack>) -> Pairs {
    let mut tags = before.map(|stack| stack.tags.clone()).unwrap_or_default();
    tags.insert("project".to_owned(), "sagemaker-mlflow-appliance".to_owned());
    tags.extend(settings.tags.clone());
    tags.insert(SET.to_owned(), settings.prefix.clone());
    tags
}

/// Lists the tags that AWS or an instance would refuse, each with the reason.
pub(super) fn unfit(tags: &Pairs) -> Vec<String> {
    let mut problems: Vec<String> = tags
        .iter()
        .filter_map(|(key, value)| reason(key, value).map(|reason| format!("tag `{}`: {reason}", key.escape_debug())))
        .collect();
    // Our own tags are two more.
    if tags.len() + 2 > LIMIT {
        problems
            .push(format!("{} tags: a stack has {LIMIT} at most, of which two are the appliance's own", tags.len()));
    }
    problems
}

fn reason(key: &str, value: &str) -> Option<&'static str> {
    // Instances see their tags (`InstanceMetadataTags`), and EC2 starts none whose keys cannot stand in a path.
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "+-=.,_:@".contains(one);
    let is_of_tags = |one: char| one.is_alphanumeric() || " _.:/=+-@".contains(one);
    if key.is_empty() || key.chars().count() > 128 {
        Some("a key has 1 to 128 characters")
    } else if key.to_ascii_lowercase().starts_with("aws:") {
        Some("keys that begin with `aws:` are AWS's own")
    } else if key.starts_with("appliance:") || key == SET {
        Some("instances read it as configuration, or `deploy` finds the stacks by it: choose another key")
    } else if !key.chars().all(is_plain) || matches!(key, "." | ".." | "_index") {
        Some(
            "EC2 starts no instance with it, because instances see their tags: use letters, digits and + - = . , _ : @ only",
        )
    } else if value.chars().count() > 256 || !value.chars().all(is_of_tags) {
        Some("a value has up to 256 letters, digits, spaces and _ . : / = + - @")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_instances_cannot_see_are_rejected() {
        for key in
            ["Cost Center", "team/ml", "ümlaut", "", "aws:x", "AWS:x", "appliance:workers", SET, "..", "_index", "a\nb"]
        {
            assert!(reason(key, "x").is_some(), "{key}");
        }
        for key in ["CostCenter", "team:ml", "a.b_c-d+e=f@g,h", "project"] {
            assert_eq!(reason(key, "a b/c"), None, "{key}");
        }
        assert!(reason("a", "x;y").is_some() && reason("a", &"x".repeat(257)).is_some());
        let many: Pairs = (0..49).map(|number| (format!("k{number}"), String::new())).collect();
        assert!(unfit(&many)[0].starts_with("49 tags: a stack has 50 at most"));
    }
}
