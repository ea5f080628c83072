//! Locate: checks that the client's address is in an allowed network, and that no foreign web page sends the request.

use std::borrow::Cow;

use crate::serve::auth::browser;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::parse::Incoming;
use crate::serve::pipeline::scope::RequestScope;

/// A request from an allowed network, addressed to an allowed host.
pub(super) struct Located<'a> {
    pub scope: &'a RequestScope<'a>,
    /// The path in its normal form.
    pub path: Cow<'a, str>,
}

/// Locates the client.
///
/// # Errors
/// [`ProxyError`].
pub(super) fn locate(incoming: Incoming<'_>) -> Result<Located<'_>, ProxyError> {
    let Incoming { scope, path, client } = incoming;
    client?;
    let (request, shared) = (scope.request, &scope.worker.shared);
    let hosts = (browser::host(request), scope.browser.public_host());
    browser::check(request.method(), request.headers(), hosts, &shared.allowed_hosts)?;
    Ok(Located { scope, path })
}
