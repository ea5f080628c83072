//! The gate that every request passes before anything is done for it: from where, who, to which target, to do what, how
//! much.

use actix_web::HttpRequest;
use actix_web::http::Method;

use crate::access::caller::{Caller, Means};
use crate::access::graphql;
use crate::access::routes::{self, RoutePath, UNCLASSIFIED};
use crate::clock;
use crate::http::body::Body;
use crate::mlflow::locations;
use crate::serve::aside::aside;
use crate::serve::auth::browser;
use crate::serve::auth::certificate;
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::context::RequestContext;
use crate::serve::worker::Worker;

/// Characters of a path that an error repeats.
const SHOWN_PATH: usize = 200;

/// Finds out who sent a request, and counts it for its caller, whatever becomes of it.
///
/// # Errors
/// [`AccessError`], as everywhere here within a [`ProxyError`].
pub(crate) async fn identify(
    worker: &Worker,
    request: &HttpRequest,
    record: &mut RequestContext,
) -> Result<(), ProxyError> {
    let callers = &worker.shared.callers;
    let now = clock::now();
    let tls = worker.shared.tls.as_ref();
    let certificate = tls.and_then(|tls| Some((certificate::of(request)?, tls)));
    let names = match &certificate {
        Some((certificate, tls)) => certificate.names(tls, now)?,
        None => &[],
    };
    let cookie = browser::session_cookie(request, callers, tls.is_some());
    let caller = callers.authenticate(request.headers(), cookie, names, &worker.keys, now).await?;
    if caller.means == Means::Session && !browser::is_from_own_page(request, callers) {
        return Err(AccessError::Unproven.into());
    }
    count(worker, caller, record)
}

/// Counts a request for its caller.
///
/// # Errors
/// [`AccessError::Excess`].
pub(crate) fn count(worker: &Worker, caller: Caller, record: &mut RequestContext) -> Result<(), ProxyError> {
    let permit = worker.shared.callers.count(&caller, record.client);
    record.caller = Some(caller);
    record.permit = Some(permit?);
    Ok(())
}

/// Counts a request of somebody who is about to say who they are.
///
/// # Errors
/// [`AccessError::Excess`].
pub(crate) fn count_stranger(worker: &Worker, record: &mut RequestContext) -> Result<(), ProxyError> {
    record.permit = Some(worker.shared.callers.count_unauthenticated(record.client)?);
    Ok(())
}

/// Decides whether the caller may do this to the target.
///
/// # Errors
/// [`AccessError`].
pub(crate) fn admit(
    worker: &Worker,
    method: &Method,
    path: &RoutePath<'_>,
    target: &str,
    record: &mut RequestContext,
) -> Result<(), ProxyError> {
    let callers = &worker.shared.callers;
    let route = routes::of(method.as_str(), path.as_str());
    record.action = Some(route.action);
    let Some(caller) = &record.caller else { return Err(AccessError::Nothing.into()) };
    if !caller.targets.contains(target) {
        return Err(AccessError::Target.into());
    }
    callers.policy.decide(caller.role, route).map_err(|denied| {
        if route != UNCLASSIFIED {
            return AccessError::Denied(denied);
        }
        let path: String = path.sent().chars().take(SHOWN_PATH).collect();
        AccessError::NoRoute { request: format!("{method} {path}"), denied }
    })?;
    Ok(())
}

/// True if the body has to be looked at to know what is done.
#[must_use]
pub(crate) fn depends_on_body(worker: &Worker, path: &str, caller: Option<&Caller>) -> bool {
    let is_free = caller.is_some_and(|caller| worker.shared.callers.policy.allows_everything(caller.role));
    !is_free && locations::is_graphql(path)
}

/// Decides whether the caller may do what the body says.
///
/// # Errors
/// [`AccessError`].
pub(crate) async fn admit_body(
    worker: &Worker,
    body: &Body,
    query: &str,
    record: &mut RequestContext,
) -> Result<(), ProxyError> {
    let Some(caller) = &record.caller else { return Err(AccessError::Nothing.into()) };
    let policy = &worker.shared.callers.policy;
    let all = match (body.bytes(), query.is_empty()) {
        (Some(bytes), true) => {
            let bytes = bytes.clone();
            aside(bytes.len(), move || graphql::routes(&bytes)).await?
        }
        // SECURITY: a document in the query could be the one that is executed, and one on disk is not looked at.
        _ => vec![UNCLASSIFIED],
    };
    for route in all {
        record.action = Some(route.action);
        policy.decide(caller.role, route).map_err(AccessError::Denied)?;
    }
    Ok(())
}
