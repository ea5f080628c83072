//! Resources that outlive their stack because they hold data, and those that earlier stacks have left behind.

use std::collections::BTreeSet;

use super::templates::{self, Kind, Template};
use super::{DeployError, Mode, Settings, Talk, tags};
use crate::api::cloudformation::StackResource;

/// The services of resources that are kept, as ARNs name them.
const SERVICES: [&str; 3] = ["kms", "logs", "s3"];

/// Lines that name what stays of these resources when the stack `name` is deleted.
pub(super) fn of(name: &str, template: &Template, there: &[StackResource]) -> Vec<String> {
    let line = |resource: &StackResource| {
        let physical = resource.physical_resource_id.as_deref().unwrap_or_default();
        format!("  {} {physical} ({name})", resource.resource_type)
    };
    there.iter().filter(|resource| is_kept(template, resource) == Some(true)).map(line).collect()
}

/// True if a resource stays when its stack is deleted, false if it goes; nothing if it is gone.
pub(super) fn is_kept(template: &Template, resource: &StackResource) -> Option<bool> {
    let about = template.resources.get(&resource.logical_resource_id);
    // A resource that a failed start has left behind is `DELETE_SKIPPED`.
    (resource.resource_status != "DELETE_COMPLETE").then(|| about.is_some_and(templates::Resource::is_kept))
}

/// Lines that name what earlier stacks of this set have left behind; that it cannot be known is told.
pub(super) async fn left_over(settings: &Settings<'_>, talk: &mut dyn Talk) -> Result<Vec<String>, DeployError> {
    let mut there = BTreeSet::new();
    // Both modes share some of the stacks.
    let all = [Mode::Tracking, Mode::Serverless].map(|mode| Kind::ALL.map(|kind| settings.stack_of(kind, mode)));
    for name in all.into_iter().flatten().collect::<BTreeSet<_>>() {
        if let Some(stack) = settings.cloud.stack(&name).await? {
            let resources = settings.cloud.resources(&stack.stack_id).await?;
            there.extend(resources.into_iter().filter_map(|resource| resource.physical_resource_id));
        }
    }
    let tagged = match settings.account.tagged(tags::SET, &settings.prefix).await {
        Ok(tagged) => tagged,
        Err(error) => {
            talk.say(&format!(
                "warning: it cannot be seen what earlier stacks have left behind: {error} (allow `tag:GetResources`)"
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

/// Names them, if there are any.
pub(super) fn tell(kept: &[String], talk: &mut dyn Talk) {
    if !kept.is_empty() {
        talk.say("These are kept, with what is in them; they cost something until you remove them yourself:");
        for line in kept {
            talk.say(line);
        }
    }
}
