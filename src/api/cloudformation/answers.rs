//! What CloudFormation answers, as far as it is read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A key and a value of tags, parameters and outputs.
pub type Pairs = BTreeMap<String, String>;

/// What a stack is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Stack {
    /// Its ARN; a deleted stack is found by nothing else.
    pub stack_id: String,
    /// Such as `UPDATE_COMPLETE`.
    pub stack_status: String,
    /// Why it has that status.
    pub stack_status_reason: Option<String>,
    /// Whether it is kept from being deleted.
    pub enable_termination_protection: bool,
    outputs: List<Output>,
    parameters: List<Parameter>,
    tags: List<Tag>,
}

impl Stack {
    /// Its outputs.
    #[must_use]
    pub fn outputs(&self) -> Pairs {
        self.outputs.member.iter().map(|one| (one.output_key.clone(), one.output_value.clone())).collect()
    }

    /// The values of its parameters.
    #[must_use]
    pub fn parameters(&self) -> Pairs {
        self.parameters.member.iter().map(|one| (one.parameter_key.clone(), one.parameter_value.clone())).collect()
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> Pairs {
        self.tags.member.iter().map(|one| (one.key.clone(), one.value.clone())).collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(super) member: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { member: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Output {
    pub(super) output_key: String,
    pub(super) output_value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Parameter {
    pub(super) parameter_key: String,
    pub(super) parameter_value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

/// What a change set would do.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Such as `CREATE_COMPLETE`.
    pub status: String,
    /// Why it has that status.
    pub reason: Option<String>,
    /// What would be changed.
    pub changes: Vec<Change>,
}

/// What would happen to a resource.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Change {
    /// `Add`, `Modify`, `Remove`, `Import` or `Dynamic`.
    pub action: String,
    /// Its name in the template.
    pub logical_resource_id: String,
    /// Its name in AWS, if it has one.
    pub physical_resource_id: Option<String>,
    /// What it is.
    pub resource_type: String,
    /// `True`, `False` or `Conditional`.
    pub replacement: Option<String>,
    /// What of it would change.
    details: List<Detail>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Detail {
    pub(super) target: Option<Target>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Target {
    pub(super) attribute: String,
    pub(super) name: Option<String>,
    pub(super) requires_recreation: Option<String>,
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.member == other.member
    }
}
impl<T: Eq> Eq for List<T> {}

impl Change {
    /// The properties that would change, each with whether that replaces the resource.
    pub fn properties(&self) -> impl Iterator<Item = (&str, bool)> {
        self.details.member.iter().filter_map(|detail| detail.target.as_ref()).map(|target| {
            let name = target.name.as_deref().unwrap_or(&target.attribute);
            (name, target.requires_recreation.as_deref() == Some("Always"))
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ChangeSetPage {
    pub(super) status: String,
    pub(super) status_reason: Option<String>,
    pub(super) changes: List<ChangeEntry>,
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ChangeEntry {
    pub(super) resource_change: Option<Change>,
}

/// Something that happened to a resource, or to the stack itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Event {
    /// Unlike any other.
    pub event_id: String,
    /// RFC 3339.
    pub timestamp: String,
    /// Its name in the template.
    pub logical_resource_id: String,
    /// Its name in AWS, if it has one; the stack's is its ARN.
    pub physical_resource_id: Option<String>,
    /// What it is.
    pub resource_type: Option<String>,
    /// Such as `CREATE_FAILED`.
    pub resource_status: String,
    /// Why.
    pub resource_status_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EventPage {
    pub(super) stack_events: List<Event>,
    pub(super) next_token: Option<String>,
}

/// A resource as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resource {
    /// Its name in the template.
    pub logical_resource_id: String,
    /// Its name in AWS.
    pub physical_resource_id: Option<String>,
    /// What it is.
    pub resource_type: String,
    /// Such as `CREATE_COMPLETE`.
    pub resource_status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Stacks {
    pub(super) stacks: List<Stack>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Resources {
    pub(super) stack_resources: List<Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Identified {
    pub(super) id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Detection {
    pub(super) stack_drift_detection_id: String,
    pub(super) detection_status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Drifts {
    pub(super) stack_resource_drifts: List<Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Refusal {
    pub(super) error: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Words {
    pub(super) code: String,
    pub(super) message: String,
}
