//! The pages under the reserved prefix `/_appliance/`, for load balancers and for people.
//!
//! MLflow has a `/health` of its own, so these have names that it can never use.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::serve::error::ProxyError;
use crate::serve::state::SharedState;
use crate::serve::upstream::served_target::ServedTarget;

const PREFIX: &str = "/_appliance";

/// What lies under the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The process answers. Needs no AWS, so a balancer does not kill it during an outage of AWS.
    Healthz,
    /// Requests will be signed: those to all targets, or to the one of this name.
    Readyz(Option<String>),
}

/// The page at a normalised path; nothing if the path is not reserved.
#[must_use]
pub(crate) fn page(path: &str) -> Option<Result<Page, ProxyError>> {
    let rest = path.strip_prefix(PREFIX)?;
    match rest {
        "/healthz" => Some(Ok(Page::Healthz)),
        "/readyz" => Some(Ok(Page::Readyz(None))),
        _ if rest.starts_with("/readyz/") => Some(Ok(Page::Readyz(Some(rest["/readyz/".len()..].to_owned())))),
        "" => Some(Err(ProxyError::NoSuchPage)),
        _ if rest.starts_with('/') => Some(Err(ProxyError::NoSuchPage)),
        _ => None,
    }
}

/// Answers for a page.
#[must_use]
pub(crate) fn render(page: &Page, shared: &SharedState) -> HttpResponse {
    match page {
        Page::Healthz => HttpResponse::Ok().json(json!({"status": "ok"})),
        Page::Readyz(name) => {
            let asked = shared.backends.iter().filter(|backend| name.is_none() || backend.name == *name);
            let targets: Vec<_> = asked.map(|backend| (backend, of(backend))).collect();
            if targets.is_empty() {
                return HttpResponse::NotFound()
                    .json(json!({"status": "unknown", "reason": "there is no such target"}));
            }
            let reason = general(shared).or_else(|| targets.iter().find_map(|(_, reason)| reason.clone()));
            let each: Map<String, Value> = targets
                .into_iter()
                .map(|(backend, reason)| {
                    (backend.label().to_owned(), Value::from(reason.unwrap_or_else(|| ready(backend))))
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

/// Answers a stranger, with no more than a balancer needs.
///
/// SECURITY: the names of the targets, and why one of them is not ready, are the operator's business.
#[must_use]
pub(crate) fn render_briefly(page: &Page, shared: &SharedState) -> HttpResponse {
    let status = render(page, shared).status();
    let word = match status {
        StatusCode::OK if *page == Page::Healthz => "ok",
        StatusCode::OK => "ready",
        StatusCode::NOT_FOUND => "unknown",
        _ => "not ready",
    };
    HttpResponse::build(status).json(json!({"status": word}))
}

/// Ready all the same if the upstream cannot be reached: that is the same for all instances, and none of them is better
/// off when a balancer or an Auto Scaling group takes the others away.
fn ready(backend: &ServedTarget) -> String {
    match (backend.breaker.is_open(), backend.s3_breaker.is_open()) {
        (true, _) => "ready, but the upstream cannot be reached",
        (false, true) => "ready, but S3 cannot be reached",
        (false, false) => "ready",
    }
    .to_owned()
}

/// Why not all targets can be served at the moment.
pub(crate) fn obstacle(shared: &SharedState) -> Option<String> {
    general(shared).or_else(|| shared.backends.iter().find_map(|backend| of(backend)))
}

/// Why this one cannot be served at the moment.
pub(crate) fn obstacle_of(backend: &ServedTarget, shared: &SharedState) -> Option<String> {
    general(shared).or_else(|| of(backend))
}

/// Why none can.
fn general(shared: &SharedState) -> Option<String> {
    let draining = shared.draining.load(std::sync::atomic::Ordering::Relaxed);
    let stopping = draining.then(|| "the appliance is shutting down".to_owned());
    stopping.or_else(|| shared.callers.tokens.obstacle().map(|unknown| unknown.to_string()))
}

/// Why this one cannot, apart from the others.
fn of(backend: &ServedTarget) -> Option<String> {
    let unsigned = backend.credentials.with(clock::now(), |_| ()).err().map(|reason| reason.to_string());
    let homeless = backend.artifacts.is_some() && backend.store.load().is_none();
    unsigned.or_else(|| {
        let why = || backend.describing.load().as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        homeless.then(|| format!("its artifact store is not known yet{}", why()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_is_reserved() {
        assert!(matches!(page("/_appliance/healthz"), Some(Ok(Page::Healthz))));
        assert!(matches!(page("/_appliance/readyz"), Some(Ok(Page::Readyz(None)))));
        let named = page("/_appliance/readyz/team-a");
        assert!(matches!(&named, Some(Ok(Page::Readyz(Some(name)))) if name == "team-a"), "{named:?}");
        for path in ["/_appliance", "/_appliance/", "/_appliance/healthz/", "/_appliance/x"] {
            assert!(matches!(page(path), Some(Err(ProxyError::NoSuchPage))), "{path}");
        }
        for path in ["/", "/health", "/_applianceX/healthz", "/api/_appliance/healthz"] {
            assert!(page(path).is_none(), "{path}");
        }
    }
}
