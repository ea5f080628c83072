//! Preflight: the checks before the first resource is created, of the values, the image, the region, zones, endpoints, quotas,
//! the certificate, the Studio domain and permissions. Each obstacle comes with its cause and its fix. A question that AWS does not answer becomes
//! a warning, and is left to CloudFormation.

mod certificate;
mod container;
mod context;
mod domain;
mod endpoints;
mod image;
mod permissions;
mod quotas;
mod types;
mod zones;

use tokio::sync::OnceCell;

use super::obstacle::Obstacle;
use super::planned_stacks::PlannedStack;
use super::prompter::Prompter;
use super::settings::DeploySettings;
use context::PreflightContext;

/// Runs all checks, shows their notes, and returns the obstacles.
pub(super) async fn obstacles(
    settings: &DeploySettings<'_>,
    stacks: &[PlannedStack],
    image: Option<&str>,
    prompter: &mut dyn Prompter,
) -> Vec<Obstacle> {
    let context = PreflightContext { settings, stacks, image, zones: &OnceCell::new() };
    // The checks run concurrently, because a service that cannot be reached takes its time to fail.
    let (image, container, types, zones, endpoints, quotas, certificate, domain, permissions) = tokio::join!(
        image::check(context),
        container::check(context),
        types::check(context),
        zones::check(context),
        endpoints::check(context),
        quotas::check(context),
        certificate::check(context),
        domain::check(context),
        permissions::check(context),
    );
    let mut obstacles = Vec::new();
    for report in [image, container, types, zones, endpoints, quotas, certificate, domain, permissions] {
        report.notes.iter().for_each(|note| prompter.say(note));
        obstacles.extend(report.obstacles);
    }
    obstacles
}
