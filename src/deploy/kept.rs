//! What outlives its stack, because it holds data: in a stack that goes, and of stacks that went earlier.

use std::collections::BTreeSet;

use super::templates::{Kind, Resource};
use super::{DeployError, Mode, Settings, Talk, tags};
use crate::api::cloudformation::Stack;

/// The services of what is kept, as ARNs name them.
const SERVICES: [&str; 3] = ["kms", "logs", "s3"];

/// Lines that name what stays when a stack is deleted.
pub(super) async fn of(settings: &Settings<'_>, kind: Kind, stack: &Stack) -> Result<Vec<String>, DeployError> {
    let template = kind.template();
    let there = settings.cloud.resources(&stack.stack_id).await?;
    let kept = there.into_iter().filter(|resource| {
        let is_kept = template.resources.get(&resource.logical_resource_id).is_some_and(Resource::is_kept);
        // What a failed start has left behind is `DELETE_SKIPPED`.
        is_kept && resource.resource_status != "DELETE_COMPLETE"
    });
    let line = |resource: crate::api::cloudformation::Resource| {
        let physical = resource.physical_resource_id.unwrap_or_default();
        format!("  {} {physical} ({})", resource.resource_type, settings.stack(kind))
    };
    Ok(kept.map(line).collect())
}

/// Lines that name what earlier stacks of this set have left behind; that it cannot be known is told.
pub(super) async fn left_over(settings: &Settings<'_>, talk: &mut dyn Talk) -> Result<Vec<String>, DeployError> {
    let mut there = BTreeSet::new();
    for mode in [Mode::Tracking, Mode::Serverless] {
        for kind in Kind::ALL {
            if let Some(stack) = settings.cloud.stack(&settings.stack_of(kind, mode)).await? {
                let resources = settings.cloud.resources(&stack.stack_id).await?;
                there.extend(resources.into_iter().filter_map(|resource| resource.physical_resource_id));
            }
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
        kept.iter().for_each(|line| talk.say(line));
    }
}
