//! Parse: checks the head of a request and its method, and writes its path in the normal form.

use std::borrow::Cow;
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, Version};

use crate::http::headers::HeaderSummary;
use crate::http::uri;
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::scope::RequestScope;

/// A request whose head is well formed.
pub(super) struct Incoming<'a> {
    pub scope: &'a RequestScope<'a>,
    /// The path in its normal form.
    pub path: Cow<'a, str>,
    /// The client's address. If it is an error, the request may not come from there.
    pub client: Result<Option<IpAddr>, AccessError>,
}

/// Parses a request.
///
/// # Errors
/// [`ProxyError`].
pub(super) fn parse<'a>(scope: &'a RequestScope<'a>) -> Result<Incoming<'a>, ProxyError> {
    let request = scope.request;
    if scope.header_summary.is_too_large() {
        return Err(ProxyError::HeadTooLarge);
    }
    // The log has the address of requests that are rejected next, too, because a rejection counts against it.
    let client = scope.worker.shared.callers.client_address(request);
    if let Ok(client) = &client {
        scope.context.log.located(*client);
    }
    let method = request.method();
    // SECURITY: TRACE would echo the signed headers, session token included; CONNECT would open a tunnel.
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        return Err(ProxyError::Method);
    }
    // SECURITY: an absolute-form target names a host, and the caller does not decide which host is called.
    let is_absolute = request.version() < Version::HTTP_2 && request.uri().authority().is_some();
    if is_absolute || !request.uri().path().starts_with('/') {
        return Err(ProxyError::TargetForm);
    }
    if is_read_to_the_end(request, scope.header_summary) && (*method != Method::GET || scope.header_summary.has_length)
    {
        return Err(ProxyError::HandshakeWithBody);
    }
    Ok(Incoming { scope, path: uri::normalize_path(request.uri().path())?, client })
}

/// True for a WebSocket handshake.
///
/// SECURITY: the listener takes everything that follows such a head for its body, whatever `Content-Length` says. A
/// balancer in front believes `Content-Length`, and what it sends next on the connection is somebody else's request.
fn is_read_to_the_end(request: &HttpRequest, summary: &HeaderSummary) -> bool {
    let is_websocket =
        |value: &HeaderValue| value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("websocket"));
    !summary.is_chunked && summary.has_upgrade && request.headers().get_all(header::UPGRADE).any(is_websocket)
}
