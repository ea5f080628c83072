//! A change set in lines for people: additions, changes, replacements and removals, with a mark for permissions.

use crate::api::cloudformation::Change;

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// An addition.
    Addition,
    /// A change in place.
    Change,
    /// A removal or a replacement.
    Danger,
    /// A change of permissions.
    Permissions,
}

/// A line of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// The importance of the line.
    pub weight: Weight,
    /// The text of the line.
    pub text: String,
}

/// Returns the lines of a change set. The most important ones come last, where people see them.
#[must_use]
pub(super) fn lines(changes: &[Change]) -> Vec<DiffLine> {
    let mut lines: Vec<DiffLine> = changes.iter().map(line).collect();
    lines.sort_by_key(|line| match line.weight {
        Weight::Addition => 0,
        Weight::Change => 1,
        Weight::Permissions => 2,
        Weight::Danger => 3,
    });
    lines
}

fn line(change: &Change) -> DiffLine {
    let Change { action, logical_resource_id: name, resource_type, replacement, .. } = change;
    let mut properties: Vec<String> = change
        .properties
        .iter()
        .map(|(property, replaces)| if *replaces { format!("{property} (replaces)") } else { property.clone() })
        .collect();
    properties.dedup();
    let because = if properties.is_empty() { String::new() } else { format!(": {}", properties.join(", ")) };
    let (weight, verb) = match (action.as_str(), replacement.as_deref()) {
        ("Add", _) => (Weight::Addition, "+ add"),
        ("Import", _) => (Weight::Addition, "+ import"),
        ("Dynamic", _) => (Weight::Change, "? perhaps add"),
        ("Remove", _) => (Weight::Danger, "- remove"),
        (_, Some("True")) => (Weight::Danger, "! replace"),
        (_, Some("Conditional")) => (Weight::Danger, "! perhaps replace"),
        _ => (Weight::Change, "~ change"),
    };
    let weight = match weight {
        Weight::Addition | Weight::Change if is_permission(resource_type) => Weight::Permissions,
        weight => weight,
    };
    let note = if is_permission(resource_type) { " [permissions]" } else { "" };
    DiffLine { weight, text: format!("{verb:18} {resource_type:46} {name}{because}{note}") }
}

/// Returns true if a resource of this type grants permissions or network access.
#[must_use]
pub fn is_permission(resource_type: &str) -> bool {
    const POLICIES: [&str; 4] =
        ["AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::SecretsManager::ResourcePolicy", "AWS::EC2::VPCEndpoint"];
    resource_type.starts_with("AWS::IAM::")
        || resource_type.starts_with("AWS::EC2::SecurityGroup")
        || POLICIES.contains(&resource_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, resource_type: &str, replacement: Option<&str>) -> Change {
        Change {
            action: action.into(),
            logical_resource_id: "X".into(),
            resource_type: resource_type.into(),
            replacement: replacement.map(Into::into),
            properties: Vec::new(),
        }
    }

    #[test]
    fn removals_come_last_and_permissions_are_marked() {
        let lines = lines(&[
            change("Remove", "AWS::S3::Bucket", None),
            change("Add", "AWS::IAM::Role", None),
            change("Modify", "AWS::EC2::LaunchTemplate", Some("False")),
            change("Modify", "AWS::SageMaker::MlflowApp", Some("True")),
            change("Add", "AWS::EC2::VPC", None),
        ]);
        let weights: Vec<Weight> = lines.iter().map(|line| line.weight).collect();
        assert_eq!(weights, [Weight::Addition, Weight::Change, Weight::Permissions, Weight::Danger, Weight::Danger]);
        assert!(lines[2].text.contains("[permissions]") && lines[4].text.starts_with("! replace"), "{lines:?}");
    }
}
