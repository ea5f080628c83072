//! Resources that are retained when their stack is deleted, because they hold data, and those that earlier stacks have
//! left behind.

use std::collections::BTreeSet;

use super::error::DeployError;
use super::prompter::Prompter;
use super::settings::{DeployMode, DeploySettings};
use super::tags;
use super::templates::{self, StackKind, Template};
use crate::api::cloudformation::StackResource;

/// The services of resources that are retained, as ARNs name them.
const SERVICES: [&str; 3] = ["kms", "logs", "s3"];

/// Returns a line for each of these resources that is retained when the stack `name` is deleted.
pub(super) fn retained(name: &str, template: &Template, there: &[StackResource]) -> Vec<String> {
    let line = |resource: &StackResource| {
        let physical = resource.physical_resource_id.as_deref().unwrap_or_default();
        format!("  {} {physical} ({name})", resource.resource_type)
    };
    there.iter().filter(|resource| is_retained(template, resource) == Some(true)).map(line).collect()
}

/// Returns true if a resource is retained when its stack is deleted, false if it is deleted, and nothing if it no longer exists.
pub(super) fn is_retained(template: &Template, resource: &StackResource) -> Option<bool> {
    let about = template.resources.get(&resource.logical_resource_id);
    // A resource that a failed start has left behind is `DELETE_SKIPPED`.
    (resource.resource_status != "DELETE_COMPLETE").then(|| about.is_some_and(templates::TemplateResource::is_retained))
}

/// Returns a line for each resource that earlier stacks of this set have left behind. If AWS does not answer, it warns.
pub(super) async fn left_over(
    settings: &DeploySettings<'_>,
    prompter: &mut dyn Prompter,
) -> Result<Vec<String>, DeployError> {
    let mut there = BTreeSet::new();
    // Both modes share some of the stacks.
    let all = [DeployMode::Tracking, DeployMode::Serverless]
        .map(|mode| StackKind::ALL.map(|kind| settings.stack_of(kind, mode)));
    for name in all.into_iter().flatten().collect::<BTreeSet<_>>() {
        if let Some(stack) = settings.cloud.stack(&name).await? {
            let resources = settings.cloud.resources(&stack.stack_id).await?;
            there.extend(resources.into_iter().filter_map(|resource| resource.physical_resource_id));
        }
    }
    let tagged = match settings.account.tagged(tags::SET, &settings.prefix).await {
        Ok(tagged) => tagged,
        Err(error) => {
            prompter.say(&format!(
                "warning: cannot list what earlier stacks left behind: {error} (allow `tag:GetResources`)"
            ));
            return Ok(Vec::new());
        }
    };
    let left = tagged.into_iter().filter(|arn| {
        let mut parts = arn.splitn(6, ':').skip(2);
        let (service, name) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
        let name = name.rsplit(['/', ':']).next().unwrap_or_default();
        SERVICES.contains(&service) && !there.contains(name)
    });
    Ok(left.map(|arn| format!("  {arn} (left over)")).collect())
}

/// Shows the retained resources, if there are any.
pub(super) fn list(kept: &[String], prompter: &mut dyn Prompter) {
    if !kept.is_empty() {
        prompter.say("These resources are kept with their contents, and cost money until you delete them yourself:");
        for line in kept {
            prompter.say(line);
        }
    }
}
