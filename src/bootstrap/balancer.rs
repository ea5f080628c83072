//! Waits until the load balancer reports this instance as healthy. CloudFormation terminates an old instance as soon as the new
//! one signals readiness. After an earlier signal, no instance would answer until the balancer has checked the new one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::services::{credentials, endpoint};
use super::settings::{BootstrapSettings, Say};
use crate::api::imds::InstanceIdentity;
use crate::api::query::{self, QueryError, TargetHealth};
use crate::error_chain;

const INTERVAL: Duration = Duration::from_secs(2);
/// After this time, the balancer has checked a ready instance often enough: it is longer than the health checks of
/// infra/appliance.yaml need. It replaces the answer of the balancer's API in a network without a route to it, or without
/// the permission.
const PAUSE: Duration = Duration::from_secs(45);
/// The API counts as unreachable after so many attempts in a row.
const ATTEMPTS: u32 = 3;

/// Waits for the instance to be healthy in a target group.
///
/// # Errors
/// The last state that the balancer reported, after the deadline.
pub(super) async fn wait(
    settings: &BootstrapSettings,
    group: &str,
    identity: &InstanceIdentity,
    say: Say<'_>,
) -> Result<(), String> {
    let mut failed = 0;
    let mut last = String::new();
    loop {
        match health(settings, group, identity).await {
            Ok(TargetHealth { state, .. }) if state == "healthy" => {
                say("the load balancer reports this instance as healthy");
                return Ok(());
            }
            Ok(TargetHealth { state, reason, description }) => {
                failed = 0;
                let words: Vec<String> = [Some(state), reason, description].into_iter().flatten().collect();
                let now = words.join(", ");
                if now != last {
                    say(&format!("waiting: the load balancer reports this instance as {now}"));
                    last = now;
                }
                if Instant::now() + INTERVAL >= settings.deadline {
                    return Err(format!("the load balancer does not report this instance as healthy: {last}"));
                }
            }
            Err(error) => {
                failed += 1;
                if failed >= ATTEMPTS || !error.is_temporary() || Instant::now() + INTERVAL >= settings.deadline {
                    return pause(settings, &error, say).await;
                }
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Waits as long as the balancer's checks take, since its API does not answer.
async fn pause(settings: &BootstrapSettings, error: &QueryError, say: Say<'_>) -> Result<(), String> {
    let pause = PAUSE.min(settings.deadline.saturating_duration_since(Instant::now()));
    let why = error_chain::joined(error);
    say(&format!(
        "cannot ask the load balancer for the health of this instance ({why}; \
         `elasticloadbalancing:DescribeTargetHealth` is needed); waiting {} s for its health checks",
        pause.as_secs()
    ));
    sleep(pause).await;
    Ok(())
}

async fn health(
    settings: &BootstrapSettings,
    group: &str,
    identity: &InstanceIdentity,
) -> Result<TargetHealth, QueryError> {
    let region = identity.region.as_str();
    let endpoint = endpoint(settings.services.load_balancing.as_ref(), "elasticloadbalancing", region);
    let (place, credentials) = ((&endpoint, region), credentials(settings, region).await);
    query::target_health(&settings.transport, place, group, &identity.instance, &credentials).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_longer_than_the_stacks_health_checks() {
        let template: serde_json::Value = serde_saphyr::from_str(include_str!("../../infra/appliance.yaml")).unwrap();
        let resources = template["Resources"].as_object().unwrap();
        let groups = resources.values().filter(|one| one["Type"] == "AWS::ElasticLoadBalancingV2::TargetGroup");
        let checks: Vec<u64> = groups
            .map(|group| {
                let seconds = |name: &str| group["Properties"][name].as_u64().unwrap();
                let each = seconds("HealthCheckIntervalSeconds");
                each * (seconds("HealthyThresholdCount") + 1) + seconds("HealthCheckTimeoutSeconds")
            })
            .collect();
        assert!(!checks.is_empty() && checks.iter().all(|seconds| *seconds < PAUSE.as_secs()), "{checks:?}");
    }
}
