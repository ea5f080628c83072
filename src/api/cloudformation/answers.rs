//! The responses of CloudFormation, as far as they are read.

use std::collections::BTreeMap;

use crate::xml::Element;

/// A key and a value of tags, parameters and outputs.
pub type Pairs = BTreeMap<String, String>;

/// A stack.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Its ARN; a deleted stack is found by nothing else.
    pub stack_id: String,
    /// Such as `UPDATE_COMPLETE`.
    pub stack_status: String,
    /// The reason why it has that status.
    pub stack_status_reason: Option<String>,
    /// True if it is protected from deletion.
    pub enable_termination_protection: bool,
    /// Its outputs.
    pub outputs: Pairs,
    /// The values of its parameters.
    pub parameters: Pairs,
    /// The resolved values of those that name a parameter of the Parameter Store.
    pub resolved: Pairs,
    /// Its tags.
    pub tags: Pairs,
}

impl Stack {
    pub(super) fn of(element: &Element) -> Self {
        let pairs = |list: &str, key: &str, value: &str| {
            element.members(list).map(|one| (one.text(key), one.text(value))).collect()
        };
        Self {
            stack_id: element.text("StackId"),
            stack_status: element.text("StackStatus"),
            stack_status_reason: element.some("StackStatusReason"),
            enable_termination_protection: element.text("EnableTerminationProtection") == "true",
            outputs: pairs("Outputs", "OutputKey", "OutputValue"),
            parameters: pairs("Parameters", "ParameterKey", "ParameterValue"),
            resolved: element
                .members("Parameters")
                .filter_map(|one| Some((one.text("ParameterKey"), one.some("ResolvedValue")?)))
                .collect(),
            tags: pairs("Tags", "Key", "Value"),
        }
    }
}

/// A change set.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Such as `CREATE_COMPLETE`.
    pub status: String,
    /// The reason why it has that status.
    pub reason: Option<String>,
    /// The changes that it would make.
    pub changes: Vec<Change>,
}

/// The change of one resource.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// `Add`, `Modify`, `Remove`, `Import` or `Dynamic`.
    pub action: String,
    /// Its name in the template.
    pub logical_resource_id: String,
    /// The type of the resource.
    pub resource_type: String,
    /// `True`, `False` or `Conditional`.
    pub replacement: Option<String>,
    /// The properties that would change, each with whether that replaces the resource.
    pub properties: Vec<(String, bool)>,
}

impl Change {
    pub(super) fn of(element: &Element) -> Self {
        let property = |detail: &Element| {
            let target = detail.find("Target")?;
            let name = target.some("Name").unwrap_or_else(|| target.text("Attribute"));
            Some((name, target.text("RequiresRecreation") == "Always"))
        };
        Self {
            action: element.text("Action"),
            logical_resource_id: element.text("LogicalResourceId"),
            resource_type: element.text("ResourceType"),
            replacement: element.some("Replacement"),
            properties: element.members("Details").filter_map(property).collect(),
        }
    }
}

/// Something that happened to a resource, or to the stack itself.
#[derive(Clone, Debug, Default)]
pub struct StackEvent {
    /// Unlike any other.
    pub event_id: String,
    /// RFC 3339.
    pub timestamp: String,
    /// Its name in the template.
    pub logical_resource_id: String,
    /// The type of the resource.
    pub resource_type: Option<String>,
    /// Such as `CREATE_FAILED`.
    pub resource_status: String,
    /// Why.
    pub resource_status_reason: Option<String>,
}

impl StackEvent {
    pub(super) fn of(element: &Element) -> Self {
        Self {
            event_id: element.text("EventId"),
            timestamp: element.text("Timestamp"),
            logical_resource_id: element.text("LogicalResourceId"),
            resource_type: element.some("ResourceType"),
            resource_status: element.text("ResourceStatus"),
            resource_status_reason: element.some("ResourceStatusReason"),
        }
    }
}

/// A resource as it is.
#[derive(Clone, Debug, Default)]
pub struct StackResource {
    /// Its name in the template.
    pub logical_resource_id: String,
    /// Its name in AWS.
    pub physical_resource_id: Option<String>,
    /// The type of the resource.
    pub resource_type: String,
    /// Such as `CREATE_COMPLETE`.
    pub resource_status: String,
}

impl StackResource {
    pub(super) fn of(element: &Element) -> Self {
        Self {
            logical_resource_id: element.text("LogicalResourceId"),
            physical_resource_id: element.some("PhysicalResourceId"),
            resource_type: element.text("ResourceType"),
            resource_status: element.text("ResourceStatus"),
        }
    }
}

/// Returns an event of an operation as a text: the resource, the place in the template and the problem.
pub(super) fn problem(event: &Element) -> Option<String> {
    let reason = ["ValidationStatusReason", "HookStatusReason", "ResourceStatusReason"];
    let reason = reason.into_iter().find_map(|name| event.some(name))?;
    let place: Vec<String> =
        ["LogicalResourceId", "ValidationPath"].into_iter().filter_map(|name| event.some(name)).collect();
    Some(if place.is_empty() { reason } else { format!("{}: {reason}", place.join(" ")) })
}
