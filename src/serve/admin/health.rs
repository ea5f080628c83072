//! The health pages under the reserved prefix `/_appliance/`.
//!
//! MLflow has a `/health` of its own, so these pages have a prefix that MLflow never uses.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::serve::error::ProxyError;
use crate::serve::state::SharedState;
use crate::serve::upstream::served_target::ServedTarget;

const PREFIX: &str = "/_appliance";

/// A page under the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthPage {
    /// Liveness: the process responds. It does not depend on AWS, so that a load balancer does not replace the instance during
    /// an outage of AWS.
    Healthz,
    /// Readiness: requests can be signed, to all targets or to the one with this name.
    Readyz(Option<String>),
}

/// Returns the page at a normalised path, or nothing if the path is not reserved.
pub(crate) fn page(path: &str) -> Option<Result<HealthPage, ProxyError>> {
    let rest = path.strip_prefix(PREFIX)?;
    match rest {
        "/healthz" => Some(Ok(HealthPage::Healthz)),
        "/readyz" => Some(Ok(HealthPage::Readyz(None))),
        _ if rest.starts_with("/readyz/") => Some(Ok(HealthPage::Readyz(Some(rest["/readyz/".len()..].to_owned())))),
        "" => Some(Err(ProxyError::NoSuchPage)),
        _ if rest.starts_with('/') => Some(Err(ProxyError::NoSuchPage)),
        _ => None,
    }
}

/// Renders a page for operators.
pub(crate) fn render(page: &HealthPage, shared: &SharedState) -> HttpResponse {
    match page {
        HealthPage::Healthz => HttpResponse::Ok().json(json!({"status": "ok"})),
        HealthPage::Readyz(name) => {
            let asked = shared.served_targets.iter().filter(|served| name.is_none() || served.name == *name);
            let targets: Vec<_> = asked.map(|served| (served, target_obstacle(served))).collect();
            if targets.is_empty() {
                return HttpResponse::NotFound()
                    .json(json!({"status": "unknown", "reason": "no target has this name"}));
            }
            let reason = common_obstacle(shared).or_else(|| targets.iter().find_map(|(_, reason)| reason.clone()));
            let each: Map<String, Value> = targets
                .into_iter()
                .map(|(served, reason)| {
                    (served.label().to_owned(), Value::from(reason.unwrap_or_else(|| ready(served))))
                })
                .collect();
            match reason {
                None => HttpResponse::Ok().json(json!({"status": "ready", "targets": each})),
                Some(reason) => HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE)
                    .json(json!({"status": "not ready", "reason": reason, "targets": each})),
            }
        }
    }
}

/// Renders a page for unauthenticated clients, with no more than a load balancer needs.
///
/// SECURITY: only operators may see the names of the targets and the reason why one is not ready.
pub(crate) fn render_briefly(page: &HealthPage, shared: &SharedState) -> HttpResponse {
    let status = render(page, shared).status();
    let word = match status {
        StatusCode::OK if *page == HealthPage::Healthz => "ok",
        StatusCode::OK => "ready",
        StatusCode::NOT_FOUND => "unknown",
        _ => "not ready",
    };
    HttpResponse::build(status).json(json!({"status": word}))
}

/// Returns the status of a ready target. A target is ready even if its upstream is unreachable: that affects all instances, and
/// a load balancer or an Auto Scaling group that removes instances would not help.
fn ready(served: &ServedTarget) -> String {
    match (served.breaker.is_open(), served.s3_breaker.is_open()) {
        (true, _) => "ready, but the upstream cannot be reached",
        (false, true) => "ready, but S3 cannot be reached",
        (false, false) => "ready",
    }
    .to_owned()
}

/// Returns the reason why some target is not ready.
pub(crate) fn obstacle(shared: &SharedState) -> Option<String> {
    common_obstacle(shared).or_else(|| shared.served_targets.iter().find_map(|served| target_obstacle(served)))
}

/// Returns the reason why a target is not ready.
pub(crate) fn obstacle_of(served: &ServedTarget, shared: &SharedState) -> Option<String> {
    common_obstacle(shared).or_else(|| target_obstacle(served))
}

/// Returns the reason why no target is ready.
fn common_obstacle(shared: &SharedState) -> Option<String> {
    let draining = shared.draining.load(std::sync::atomic::Ordering::Relaxed);
    let stopping = draining.then(|| "the appliance is shutting down".to_owned());
    let callers = &shared.callers;
    let unread = || callers.tokens.obstacle().map(|unknown| unknown.to_string());
    stopping.or_else(unread).or_else(|| callers.sessions.get().err().map(|unknown| unknown.to_string()))
}

/// Returns the reason that concerns one target only.
fn target_obstacle(served: &ServedTarget) -> Option<String> {
    let unsigned = served.credentials.check().err().map(|reason| reason.to_string());
    let lacks_store = served.artifacts.is_some() && served.store.load().is_none();
    unsigned.or_else(|| {
        let why = || served.store_obstacle.load().as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lacks_store.then(|| format!("its artifact store is not known yet{}", why()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_under_the_prefix_are_reserved() {
        assert!(matches!(page("/_appliance/healthz"), Some(Ok(HealthPage::Healthz))));
        assert!(matches!(page("/_appliance/readyz"), Some(Ok(HealthPage::Readyz(None)))));
        let named = page("/_appliance/readyz/team-a");
        assert!(matches!(&named, Some(Ok(HealthPage::Readyz(Some(name)))) if name == "team-a"), "{named:?}");
        for path in ["/_appliance", "/_appliance/", "/_appliance/healthz/", "/_appliance/x"] {
            assert!(matches!(page(path), Some(Err(ProxyError::NoSuchPage))), "{path}");
        }
        for path in ["/", "/health", "/_applianceX/healthz", "/api/_appliance/healthz"] {
            assert!(page(path).is_none(), "{path}");
        }
    }
}
