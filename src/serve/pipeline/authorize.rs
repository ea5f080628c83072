//! Authorize: decides whether the caller may do this to the target, by the route and, for GraphQL, by the document.

use actix_web::http::Method;

use crate::access::graphql;
use crate::access::routes::{self, RoutePath, UNCLASSIFIED};
use crate::http::body::Body;
use crate::mlflow::locations;
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::offload::offload;
use crate::serve::pipeline::route::Routed;

/// Characters of a path that an error repeats.
const SHOWN_PATH: usize = 200;

/// A request that the policy allows. If its body decides, [`Authorized::check_document`] is still to come.
pub(super) struct Authorized<'a> {
    pub routed: Routed<'a>,
    /// The action of the route.
    pub action: &'static str,
}

/// Authorizes a request.
///
/// # Errors
/// [`AccessError`].
pub(super) fn authorize(routed: Routed<'_>) -> Result<Authorized<'_>, ProxyError> {
    let scope = routed.scope;
    let method = scope.request.method();
    let route = routes::of(method.as_str(), routed.path.as_str());
    scope.context.log.classified(route.action);
    if !routed.caller.targets.contains(routed.upstream.served.label()) {
        return Err(AccessError::TargetNotAllowed.into());
    }
    scope.worker.shared.callers.policy.decide(routed.caller.role, route).map_err(|denied| {
        if route != UNCLASSIFIED {
            return AccessError::Denied(denied);
        }
        AccessError::NoRoute { request: shown(method, &routed.path), denied }
    })?;
    Ok(Authorized { routed, action: route.action })
}

/// The beginning of a request, for an error to repeat.
fn shown(method: &Method, path: &RoutePath<'_>) -> String {
    let path: String = path.sent().chars().take(SHOWN_PATH).collect();
    format!("{method} {path}")
}

impl Authorized<'_> {
    /// True if the body has to be read to know what the request does.
    pub(super) fn depends_on_document(&self) -> bool {
        let policy = &self.routed.scope.worker.shared.callers.policy;
        !policy.allows_everything(self.routed.caller.role) && locations::is_graphql(self.routed.path.as_str())
    }

    /// Decides whether the caller may do what the body says.
    ///
    /// # Errors
    /// [`AccessError`].
    pub(super) async fn check_document(&self, body: &Body) -> Result<(), ProxyError> {
        let Routed { scope, caller, query, .. } = &self.routed;
        let all = match (body.bytes(), query.is_empty()) {
            (Some(bytes), true) => {
                let bytes = bytes.clone();
                offload(bytes.len(), move || graphql::routes(&bytes)).await?
            }
            // SECURITY: the server could execute a document in the query instead, and a document on disk is not parsed.
            _ => vec![UNCLASSIFIED],
        };
        for route in all {
            scope.context.log.classified(route.action);
            scope.worker.shared.callers.policy.decide(caller.role, route).map_err(AccessError::Denied)?;
        }
        Ok(())
    }
}
