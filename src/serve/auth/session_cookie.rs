//! The cookie of a browser's session: its attributes, and the path for which it is valid.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};

use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};

/// Lets a response begin a session that lasts for `lifetime`.
pub(crate) fn begin(response: &mut HttpResponse, browser: BrowserRequest<'_>, (value, lifetime): (&str, Duration)) {
    set(response, browser, (browser.session_cookie(), browser.is_secure()), (value, lifetime));
}

/// Lets a response end the sessions of the browser.
pub(crate) fn end(response: &mut HttpResponse, browser: BrowserRequest<'_>) {
    for cookie in [(COOKIE, false), (SECURE_COOKIE, true)] {
        set(response, browser, cookie, ("", Duration::ZERO));
    }
}

/// Sets a cookie that scripts cannot read and other sites' forms do not send. The name of a secure one begins with `__Host-`.
/// The path of another one is the prefix of a trusted proxy, so that a browser does not send the cookie to anything that the
/// proxy shows beside the appliance.
///
/// SECURITY: over TLS the name says that the cookie is for the whole host (`__Host-`, RFC 6265bis). That no sibling domain can
/// set it is worth more than that nothing else on the host sees it: pages of one host are one origin anyway.
pub(crate) fn set(
    response: &mut HttpResponse,
    browser: BrowserRequest<'_>,
    (name, is_secure): (&str, bool),
    (value, lifetime): (&str, Duration),
) {
    let path = browser.prefix().filter(|_| !is_secure).unwrap_or("/");
    let (secure, lifetime) = (if is_secure { "; Secure" } else { "" }, lifetime.as_secs());
    let cookie = format!("{name}={value}; Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
