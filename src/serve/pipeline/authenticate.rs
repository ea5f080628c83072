//! Authenticate: finds the caller of a request, and counts the request against the caller's limits.

use crate::access::caller::{AuthMethod, Caller};
use crate::clock;
use crate::serve::auth::certificate;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::service_clients::ServiceAccess;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::locate::Located;
use crate::serve::pipeline::scope::RequestScope;

/// A request of a known caller, within the caller's limits.
pub(super) struct Authenticated<'a> {
    pub scope: &'a RequestScope<'a>,
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
    let cookie = scope.browser.session_cookie();
    let services = ServiceAccess { clients: &scope.worker.services, client: scope.context.log.client() };
    let caller = shared.callers.authenticate(request.headers(), cookie, names, services, now).await?;
    if caller.auth_method == AuthMethod::Session && !scope.browser.is_from_own_page() {
        return Err(AccessError::Unproven.into());
    }
    if let Some(personal) = &shared.callers.personal {
        personal.seen(&caller);
    }
    Ok(Authenticated { scope, path: &located.path, caller: count(scope, caller)? })
}

/// Counts a request against the limits of its caller, who is logged even if they reject the request.
///
/// # Errors
/// [`AccessError::LimitExceeded`].
pub(super) fn count<'a>(scope: &RequestScope<'a>, caller: Caller) -> Result<&'a Caller, AccessError> {
    let permit = scope.worker.shared.callers.count(&caller, scope.context.log.client());
    let caller = scope.context.log.authenticated(caller);
    scope.context.permits.hold(permit?);
    Ok(caller)
}
