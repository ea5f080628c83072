//! The cookie that binds sign-ins at identity providers to a browser.

use actix_web::HttpResponse;

use crate::access::code_flow::FLOW_LIFETIME;
use crate::serve::auth::sign_on::request::SignOnRequest;
use crate::serve::auth::{credentials, session_cookie};

const COOKIE: &str = "appliance-sign-in";
const SECURE: &str = "__Host-appliance-sign-in";

fn name(sign_on: &SignOnRequest<'_>) -> &'static str {
    if sign_on.browser.is_secure() { SECURE } else { COOKIE }
}

/// Returns the value that the browser has sent.
pub(super) fn of<'a>(sign_on: &SignOnRequest<'a>) -> Option<&'a str> {
    credentials::session(sign_on.browser.request.headers(), name(sign_on))
}

/// Lets a response set the cookie, for as long as a sign-in may take from now on.
pub(super) fn set(response: &mut HttpResponse, sign_on: &SignOnRequest<'_>, value: &str) {
    let cookie = (name(sign_on), sign_on.browser.is_secure());
    session_cookie::set(response, sign_on.browser, cookie, (value, FLOW_LIFETIME));
}
