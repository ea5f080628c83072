//! Counts requests against the limits of their callers and addresses.

use actix_web::http::StatusCode;

use crate::access::caller::Caller;
use crate::serve::auth::error::AccessError;
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::state::SharedState;

/// Counts a request for its caller, who is logged even if the limit rejects the request.
///
/// # Errors
/// [`AccessError::Excess`].
pub(super) fn count<'a>(
    shared: &SharedState,
    caller: Caller,
    context: &'a RequestContext,
) -> Result<&'a Caller, ProxyError> {
    let permit = shared.callers.meter.admit(&caller, context.log.client());
    let caller = context.log.authenticated(caller);
    context.permits.hold(permit.map_err(AccessError::Excess)?);
    Ok(caller)
}

/// Counts a request whose caller is about to authenticate.
///
/// # Errors
/// [`AccessError::Excess`].
pub(super) fn count_stranger(shared: &SharedState, context: &RequestContext) -> Result<(), ProxyError> {
    let permit = shared.callers.meter.admit_stranger(context.log.client());
    context.permits.hold(permit.map_err(AccessError::Excess)?);
    Ok(())
}

/// Counts a request that is rejected with this status. A known caller has been counted already.
///
/// SECURITY: this slows down an address from which somebody guesses tokens or floods the log with rejections. Users who
/// share the address notice nothing as long as their credentials are valid.
///
/// # Errors
/// [`AccessError::Excess`] if too many requests of that address were rejected.
pub(super) fn count_rejection(
    shared: &SharedState,
    context: &RequestContext,
    status: StatusCode,
) -> Result<(), ProxyError> {
    match (context.log.caller(), context.log.client()) {
        // Only what a caller did wrong counts.
        (None, Some(address)) if status.is_client_error() => {
            shared.callers.meter.reject(address).map_err(|excess| AccessError::Excess(excess).into())
        }
        _ => Ok(()),
    }
}
