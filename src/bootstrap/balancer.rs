//! Waits until the load balancer finds this instance healthy. CloudFormation ends an old instance as soon as the new one is
//! reported ready: were that said earlier, nobody would answer until the balancer has checked the new one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Say, Settings, credentials, service};
use crate::api::imds::InstanceIdentity;
use crate::api::query::{self, QueryError, TargetHealth};
use crate::error_chain;

const INTERVAL: Duration = Duration::from_secs(2);
/// The balancer has checked a ready instance often enough after this time. It is longer than the health checks of
/// infra/appliance.yaml need, and it is the answer where the balancer's API cannot be asked: in a network without a way to
/// it, or without the permission.
const PAUSE: Duration = Duration::from_secs(45);
/// The API counts as unreachable after so many attempts in a row.
const ATTEMPTS: u32 = 3;

/// Waits for the instance to be healthy in a target group.
///
/// # Errors
/// The last words of the balancer, after the deadline.
pub(super) async fn wait(
    settings: &Settings,
    group: &str,
    identity: &InstanceIdentity,
    say: Say<'_>,
) -> Result<(), String> {
    let mut failed = 0;
    let mut last = String::new();
    loop {
        match health(settings, group, identity).await {
            Ok(TargetHealth { state, .. }) if state == "healthy" => {
                say("the load balancer finds this instance healthy");
                return Ok(());
            }
            Ok(TargetHealth { state, reason, description }) => {
                failed = 0;
                let words: Vec<String> = [Some(state), reason, description].into_iter().flatten().collect();
                let now = words.join(", ");
                if now != last {
                    say(&format!("waiting: the load balancer says of this instance: {now}"));
                    last = now;
                }
                if Instant::now() + INTERVAL >= settings.deadline {
                    return Err(format!("the load balancer does not find this instance healthy: {last}"));
                }
            }
            Err(error) => {
                failed += 1;
                if failed >= ATTEMPTS || !error.may_pass() || Instant::now() + INTERVAL >= settings.deadline {
                    return pause(settings, &error, say).await;
                }
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Gives the balancer the time that its checks take, since it cannot be asked.
async fn pause(settings: &Settings, error: &QueryError, say: Say<'_>) -> Result<(), String> {
    let pause = PAUSE.min(settings.deadline.saturating_duration_since(Instant::now()));
    let why = error_chain::joined(error);
    say(&format!(
        "the load balancer cannot be asked whether it finds this instance healthy ({why}; \
         `elasticloadbalancing:DescribeTargetHealth` is needed), so its health checks get {} s",
        pause.as_secs()
    ));
    sleep(pause).await;
    Ok(())
}

async fn health(settings: &Settings, group: &str, identity: &InstanceIdentity) -> Result<TargetHealth, QueryError> {
    let region = identity.region.as_str();
    let endpoint = service(settings.services.load_balancing.as_ref(), "elasticloadbalancing", region);
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
