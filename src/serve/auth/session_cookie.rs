//! The cookie of a browser's session: its attributes, and the path for which it is valid.

use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use crate::serve::auth::browser;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
use crate::serve::auth::redirect;

/// Lets a response begin a session that lasts for `lifetime`.
pub(crate) fn begin(
    response: &mut HttpResponse,
    request: &HttpRequest,
    callers: &Callers,
    has_tls: bool,
    (value, lifetime): (&str, Duration),
) {
    let name = browser::session_cookie(request, callers, has_tls);
    set(response, request, callers, (name, name == SECURE_COOKIE), (value, lifetime));
}

/// Lets a response end the sessions of the browser.
pub(crate) fn end(response: &mut HttpResponse, request: &HttpRequest, callers: &Callers) {
    for name in [COOKIE, SECURE_COOKIE] {
        set(response, request, callers, (name, name == SECURE_COOKIE), ("", Duration::ZERO));
    }
}

/// Sets a cookie that scripts cannot read and other sites' forms do not send. The name of a secure one begins with `__Host-`.
pub(crate) fn set(
    response: &mut HttpResponse,
    request: &HttpRequest,
    callers: &Callers,
    (name, is_secure): (&str, bool),
    (value, lifetime): (&str, Duration),
) {
    let path = if is_secure { "/" } else { path(callers, request) };
    let (secure, lifetime) = (if is_secure { "; Secure" } else { "" }, lifetime.as_secs());
    let cookie = format!("{name}={value}; Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Returns the path of a cookie that is not secure: the prefix of a trusted proxy, so that a browser does not send the cookie to anything that the
/// proxy shows beside the appliance.
///
/// SECURITY: over TLS the name says that the cookie is for the whole host (`__Host-`, RFC 6265bis). That no sibling domain can
/// set it is worth more than that nothing else on the host sees it: pages of one host are one origin anyway.
fn path<'a>(callers: &Callers, request: &'a HttpRequest) -> &'a str {
    redirect::prefix(request, callers).unwrap_or("/")
}
