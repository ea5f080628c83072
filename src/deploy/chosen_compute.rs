//! The kind of compute that a command is for, and the move from one kind to the other.

use super::compute::Compute;
use super::error::DeployError;
use super::parameters;
use super::settings::DeploySettings;
use super::stack::previous;
use super::templates::{StackKind, Template};
use crate::api::cloudformation::Pairs;

/// Returns the kinds of compute that the deployment has, failed starts included.
pub(super) async fn present(settings: &DeploySettings<'_>) -> Result<Vec<Compute>, DeployError> {
    let mut found = Vec::new();
    for compute in [Compute::Instances, Compute::Fargate] {
        if settings.cloud.stack(&settings.stack(compute.stack())).await?.is_some() {
            found.push(compute);
        }
    }
    Ok(found)
}

/// Chooses the kind that the deployment has, if the command line names none; instances if it has none yet.
///
/// # Errors
/// [`DeployError::BothComputes`]: it has both.
pub(super) async fn choose(settings: &mut DeploySettings<'_>) -> Result<(), DeployError> {
    if settings.compute.is_none() {
        settings.compute = Some(match present(settings).await?[..] {
            [] => Compute::Instances,
            [one] => one,
            _ => {
                let name = |compute: Compute| settings.stack(compute.stack());
                return Err(DeployError::BothComputes(name(Compute::Instances), name(Compute::Fargate)));
            }
        });
    }
    Ok(())
}

/// Returns the step that ends the move from the other kind of compute, if the deployment has it as well.
pub(super) async fn next_step(settings: &DeploySettings<'_>, kind: StackKind) -> Result<Option<String>, DeployError> {
    let Some(other) = Compute::of(kind).map(Compute::other) else { return Ok(None) };
    let name = settings.stack(other.stack());
    Ok(settings.cloud.stack(&name).await?.map(|_| {
        format!(
            "next: {name} still serves at its own load balancer, with its own tokens; once no client uses it, delete it with\n  \
             appliance deploy destroy --mode {} --compute {}",
            settings.mode.name(),
            other.name()
        )
    }))
}

/// Returns the values that a new stack takes over from the deployment's other kind of compute: those of parameters that both
/// templates have, such as the certificate and the callers.
pub(super) async fn inherited(
    settings: &DeploySettings<'_>,
    kind: StackKind,
    template: &Template,
) -> Result<Pairs, DeployError> {
    let Some(compute) = Compute::of(kind) else { return Ok(Pairs::new()) };
    let other = settings.cloud.stack(&settings.stack(compute.other().stack())).await?;
    let mut values = previous(other.as_ref());
    values.retain(|name, text| {
        template.parameters.get(name).is_some_and(|parameter| parameters::check(parameter, text).is_ok())
    });
    Ok(values)
}
