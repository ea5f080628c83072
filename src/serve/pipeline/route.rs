//! Route: finds the target that a path names, and the path as the target knows it.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::access::caller::{Caller, Targets};
use crate::access::routes::RoutePath;
use crate::http::uri;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::redirect;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::authenticate::Authenticated;
use crate::serve::pipeline::scope::RequestScope;
use crate::serve::upstream::mlflow::MlflowClient;
use crate::serve::upstream::target_names::TargetNames;

/// Paths under `/t/<name>/` belong to the target of that name.
const PREFIX: &str = "/t/";

/// A request whose target is known.
pub(super) struct Routed<'a> {
    pub scope: &'a RequestScope<'a>,
    pub caller: &'a Caller,
    pub upstream: &'a MlflowClient,
    /// The beginning of the client's path, which names the target; empty for the default target.
    pub prefix: &'a str,
    /// The rest of the path.
    pub path: RoutePath<'a>,
    /// The query in its normal form.
    pub query: Cow<'a, str>,
}

/// The result of routing a request: its target, or a redirect.
pub(super) enum RouteResult<'a> {
    Target(Routed<'a>),
    /// The same path with a slash at its end, so that the UI's relative URLs work.
    Redirect(HttpResponse),
}

/// Routes a request.
///
/// # Errors
/// [`ProxyError::UnknownTarget`], or [`AccessError::TargetNotAllowed`].
pub(super) fn route<'a>(authenticated: &Authenticated<'a>) -> Result<RouteResult<'a>, ProxyError> {
    let Authenticated { scope, path, caller } = *authenticated;
    let query = uri::normalize_query(scope.request.uri().query().unwrap_or_default());
    let (index, prefix, inner) = target_of(path, &scope.worker.shared.target_names, &caller.targets)?;
    if inner.is_empty() {
        let with_slash = uri::joined(&format!("{prefix}/"), &query);
        let location = redirect::relative(scope.request.uri().path(), &with_slash);
        let response = HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish();
        return Ok(RouteResult::Redirect(response));
    }
    let upstream = &scope.worker.upstreams[index];
    scope.context.log.routed(index, upstream.served.name.as_deref());
    Ok(RouteResult::Target(Routed { scope, caller, upstream, prefix, path: RoutePath::read(inner), query }))
}

/// Finds the index of the target that a path in its normal form names, for a caller who may use the targets `allowed`.
/// Returns with it the part of the path that names the target, and the rest.
fn target_of<'a>(
    path: &'a str,
    names: &TargetNames,
    allowed: &Targets,
) -> Result<(usize, &'a str, &'a str), ProxyError> {
    let rooted = uri::rooted(path);
    let Some(rest) = rooted.strip_prefix(PREFIX) else {
        let default = names.default().ok_or(ProxyError::UnknownTarget)?;
        return Ok((default, "", path));
    };
    let name = rest.split_once('/').map_or(rest, |(name, _)| name);
    // SECURITY: a caller who may use some of the targets need not learn the names of the others.
    if !allowed.contains(name) {
        return Err(AccessError::TargetNotAllowed.into());
    }
    let index = names.index(name);
    let (prefix, inner) = rooted.split_at(PREFIX.len() + name.len());
    Ok((index.ok_or(ProxyError::UnknownTarget)?, prefix, inner))
}
