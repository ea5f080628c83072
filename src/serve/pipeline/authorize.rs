//! The gate that every request passes before anything is done for it: from where, who, to which target, to do what, how
//! much.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};

use crate::access::caller::{AuthMethod, Caller};
use crate::access::graphql;
use crate::access::routes::{self, RoutePath, UNCLASSIFIED};
use crate::clock;
use crate::http::body::Body;
use crate::mlflow::locations;
use crate::serve::aside::aside;
use crate::serve::auth::browser;
use crate::serve::auth::certificate;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
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
    let cookie = session_cookie(worker, request);
    let caller = callers.identify(request.headers(), cookie, names, &worker.keys, now).await?;
    if caller.means == AuthMethod::Session && !browser::is_from_own_page(request, callers) {
        return Err(AccessError::Unproven.into());
    }
    count(worker, caller, record)
}

/// Counts a request for its caller.
///
/// # Errors
/// [`AccessError::Excess`].
pub(crate) fn count(worker: &Worker, caller: Caller, record: &mut RequestContext) -> Result<(), ProxyError> {
    let permit = worker.shared.callers.meter.admit(&caller, record.client);
    record.caller = Some(caller);
    record.permit = Some(permit.map_err(AccessError::Excess)?);
    Ok(())
}

/// Counts a request of somebody who is about to say who they are.
///
/// # Errors
/// [`AccessError::Excess`].
pub(crate) fn count_stranger(worker: &Worker, record: &mut RequestContext) -> Result<(), ProxyError> {
    let permit = worker.shared.callers.meter.admit_unauthenticated(record.client);
    record.permit = Some(permit.map_err(AccessError::Excess)?);
    Ok(())
}

/// Counts a request that is rejected with this status. Where the caller is known, it has been counted already.
///
/// SECURITY: whoever guesses tokens or floods the log with rejections is slowed down by address. Users who share it
/// notice nothing as long as what they present is valid.
///
/// # Errors
/// [`AccessError::Excess`] if too many were rejected of that address.
pub(crate) fn count_rejection(worker: &Worker, record: &RequestContext, status: StatusCode) -> Result<(), ProxyError> {
    match (&record.caller, record.client) {
        // Only what a caller did wrong counts.
        (None, Some(address)) if status.is_client_error() => {
            worker.shared.callers.meter.reject(address).map_err(|excess| AccessError::Excess(excess).into())
        }
        _ => Ok(()),
    }
}

/// The cookie in which a session is on this connection.
#[must_use]
pub(crate) fn session_cookie(worker: &Worker, request: &HttpRequest) -> &'static str {
    if is_secure(worker, request) { SECURE_COOKIE } else { COOKIE }
}

/// True if the browser speaks TLS, to us or to a proxy that we trust.
fn is_secure(worker: &Worker, request: &HttpRequest) -> bool {
    let said = || request.headers().get("x-forwarded-proto").is_some_and(|value| value == "https");
    worker.shared.tls.is_some() || (worker.shared.callers.trusts(request) && said())
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
