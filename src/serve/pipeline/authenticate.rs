//! Authenticate: finds the caller of a request, and counts the request against the caller's limits.

use actix_web::HttpRequest;

use crate::access::caller::{Caller, Means};
use crate::clock;
use crate::serve::auth::browser;
use crate::serve::auth::certificate;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::limit;
use crate::serve::pipeline::locate::Located;
use crate::serve::pipeline::scope::RequestScope;
use crate::serve::state::SharedState;

/// A request of a known caller, within the caller's limits.
pub(super) struct Authenticated<'a> {
    pub scope: RequestScope<'a>,
    /// The path in its normal form.
    pub path: &'a str,
    pub caller: &'a Caller,
}

/// Authenticates the caller. The request counts against the caller's limits, whatever becomes of it.
///
/// # Errors
/// [`AccessError`] within a [`ProxyError`].
pub(super) async fn authenticate<'a>(located: &'a Located<'a>) -> Result<Authenticated<'a>, ProxyError> {
    let scope = located.scope;
    let (request, shared) = (scope.request, &*scope.worker.shared);
    let now = clock::now();
    let certificate = shared.tls.as_ref().and_then(|tls| Some((certificate::of(request)?, tls)));
    let names = match &certificate {
        Some((certificate, tls)) => certificate.names(tls, now)?,
        None => &[],
    };
    let cookie = session_cookie(shared, request);
    let caller = shared.callers.identify(request.headers(), cookie, names, &scope.worker.keys, now).await?;
    if caller.means == Means::Session && !browser::is_from_own_page(request, &shared.callers) {
        return Err(AccessError::Unproven.into());
    }
    let caller = limit::count(shared, caller, scope.context)?;
    Ok(Authenticated { scope, path: &located.path, caller })
}

/// The cookie that holds a session on this connection.
#[must_use]
pub(super) fn session_cookie(shared: &SharedState, request: &HttpRequest) -> &'static str {
    if is_secure(shared, request) { SECURE_COOKIE } else { COOKIE }
}

/// True if the browser uses TLS, either to the appliance or to a trusted proxy in front of it.
fn is_secure(shared: &SharedState, request: &HttpRequest) -> bool {
    let said = || request.headers().get("x-forwarded-proto").is_some_and(|value| value == "https");
    shared.tls.is_some() || (shared.callers.trusts(request) && said())
}
