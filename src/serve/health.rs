//! The pages under the reserved prefix `/_appliance/`, for load balancers and for people.
//!
//! MLflow has a `/health` of its own, so these have names that it can never use.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

use super::Shared;
use super::refusal::Refusal;
use crate::clock;

const PREFIX: &str = "/_appliance";

/// What lies under the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The process answers. Needs no AWS, so a balancer does not kill it during an outage of AWS.
    Healthz,
    /// Requests will be signed.
    Readyz,
}

/// The page at a normalised path; nothing if the path is not reserved.
#[must_use]
pub(super) fn page(path: &str) -> Option<Result<Page, Refusal>> {
    let rest = path.strip_prefix(PREFIX)?;
    match rest {
        "/healthz" => Some(Ok(Page::Healthz)),
        "/readyz" => Some(Ok(Page::Readyz)),
        "" => Some(Err(Refusal::NoSuchPage)),
        _ if rest.starts_with('/') => Some(Err(Refusal::NoSuchPage)),
        _ => None,
    }
}

/// Answers for a page.
#[must_use]
pub(super) fn render(page: Page, shared: &Shared) -> HttpResponse {
    match page {
        Page::Healthz => HttpResponse::Ok().json(json!({"status": "ok"})),
        Page::Readyz => {
            let credentials = shared.credentials.with(clock::now(), |_| ()).err().map(|reason| reason.to_string());
            let draining = shared.draining.load(std::sync::atomic::Ordering::Relaxed);
            let reason = if draining { Some("the appliance is shutting down".to_owned()) } else { credentials };
            match reason {
                None => HttpResponse::Ok().json(json!({"status": "ready"})),
                Some(reason) => HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE)
                    .json(json!({"status": "not ready", "reason": reason})),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_is_reserved() {
        assert!(matches!(page("/_appliance/healthz"), Some(Ok(Page::Healthz))));
        assert!(matches!(page("/_appliance/readyz"), Some(Ok(Page::Readyz))));
        for path in ["/_appliance", "/_appliance/", "/_appliance/healthz/", "/_appliance/x"] {
            assert!(matches!(page(path), Some(Err(Refusal::NoSuchPage))), "{path}");
        }
        for path in ["/", "/health", "/_applianceX/healthz", "/api/_appliance/healthz"] {
            assert!(page(path).is_none(), "{path}");
        }
    }
}
