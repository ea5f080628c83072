//! The pages with which people sign in and out: a browser sends a token once and gets a session.
//!
//! They are plain HTML without scripts. The token is sent in the body of a form, never in a URL, and is not kept. A link to
//! a page of MLflow leads there after signing in: path and query travel in the form, the fragment with the browser.

use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use crate::access::caller::{Caller, Means};
use crate::access::token;
use crate::clock;
use crate::http::body::{Intake, Timing, receive};
use crate::http::uri;
use crate::serve::auth::browser;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::authenticate;
use crate::serve::pipeline::limit;
use crate::serve::pipeline::locate::Located;
use crate::serve::pipeline::redirect;
use crate::serve::pipeline::scope::RequestScope;
use crate::serve::state::SharedState;

/// The page for signing in.
pub(super) const LOGIN: &str = "/_appliance/login";
/// The page for signing out.
pub(super) const LOGOUT: &str = "/_appliance/logout";
/// The largest form, which has a token and a path. Bytes.
const FORM_LIMIT: u64 = 16 * 1024;
/// SECURITY: unauthenticated clients send the form, and hold a connection meanwhile. A browser sends it in one piece.
const FORM_TIMING: Timing = Timing { silence: Duration::from_secs(10), total: Duration::from_secs(10) };
const PAGE: &str = include_str!("sign_in.html");
/// SECURITY: no scripts, no frames, nothing from elsewhere, and the form goes nowhere else.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Sends a browser to the sign-in page if it asked for a page without a session. Other clients get the error.
#[must_use]
pub(super) fn instead(request: &HttpRequest) -> Option<HttpResponse> {
    let wants_page = request.headers().get(header::ACCEPT)?.to_str().ok()?.contains("text/html");
    if request.method() != Method::GET || !wants_page {
        return None;
    }
    let asked = request.uri().path_and_query().map_or("/", |target| target.as_str());
    Some(see(request, &format!("{LOGIN}?next={}", uri::encoded(asked))))
}

/// Answers for a page.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn answer(located: &Located<'_>, payload: web::Payload) -> Result<HttpResponse, ProxyError> {
    let (request, shared) = (located.scope.request, &*located.scope.worker.shared);
    match (uri::rooted(&located.path), request.method()) {
        (LOGIN, &(Method::GET | Method::HEAD)) => {
            let next = request.uri().query().and_then(|query| query.strip_prefix("next=")).unwrap_or_default();
            let next = percent_decode_str(next).decode_utf8_lossy();
            Ok(page(StatusCode::OK, "", &next))
        }
        (LOGIN, &Method::POST) => sign_in(located.scope, payload).await,
        (LOGOUT, &Method::POST) => {
            if !browser::is_from_own_page(request, &shared.callers) {
                return Err(AccessError::Unproven.into());
            }
            let mut response = see(request, LOGIN);
            for name in [COOKIE, SECURE_COOKIE] {
                set_cookie(&mut response, (name, cookie_path(shared, request, name)), "", 0);
            }
            Ok(response)
        }
        // The page is not shown here, because its form is sent to the path where it is shown, and would sign out.
        (LOGOUT, &(Method::GET | Method::HEAD)) => Ok(see(request, LOGIN)),
        _ => Err(ProxyError::Method),
    }
}

async fn sign_in(scope: RequestScope<'_>, payload: web::Payload) -> Result<HttpResponse, ProxyError> {
    let RequestScope { worker, request, context, .. } = scope;
    let (shared, callers) = (&*worker.shared, &worker.shared.callers);
    // SECURITY: otherwise another site could sign a visitor in as another caller, and read what the visitor then logs.
    if !browser::is_from_own_page(request, callers) {
        return Err(AccessError::Unproven.into());
    }
    let (size_limit, memory_limit, timing) = (FORM_LIMIT, FORM_LIMIT, FORM_TIMING);
    let intake = Intake { size_limit, memory_limit, timing, ..worker.intake.clone() };
    let received = receive(payload, None, &intake, &context.permits.account()).await?;
    let Some(bytes) = received.body.bytes() else { return Err(ProxyError::Busy) };
    let field = |name: &str| form_urlencoded::parse(bytes).find(|(key, _)| key == name).map(|(_, value)| value);
    let given = SecretString::from(field("token").unwrap_or_default().into_owned());
    let next = field("next").unwrap_or_default();
    let now = clock::now();
    let token = given.expose_secret().trim();
    let caller = match callers.holder(token, now) {
        Ok(caller) => caller,
        Err(error) => {
            limit::count_rejection(shared, context, error.status())?;
            context.log.rejected(error.kind(), error.to_string());
            return Ok(page(error.status(), &error.message(), &next));
        }
    };
    limit::count(shared, Caller { means: Means::Session, ..caller }, context)?;
    let session = callers.sessions.begin(token::id(token).unwrap_or_default(), now);
    let name = authenticate::session_cookie(shared, request);
    let mut response = see(request, safe(&next));
    let path = cookie_path(shared, request, name);
    set_cookie(&mut response, (name, path), &session, callers.sessions.lifetime.as_secs());
    Ok(response)
}

/// Sets a cookie that scripts cannot read and other sites' forms do not send; `lifetime` is in seconds.
fn set_cookie(response: &mut HttpResponse, (name, path): (&str, &str), value: &str, lifetime: u64) {
    let secure = if name == SECURE_COOKIE { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The paths to which a browser sends a cookie: those that a trusted proxy forwards here, so that no other application
/// behind the proxy sees the cookie.
///
/// SECURITY: over TLS the name says that the cookie is for the whole host (`__Host-`, RFC 6265bis). That no sibling domain
/// can set it is worth more than that no other application on the host sees it: pages of one host are one origin anyway.
fn cookie_path<'a>(shared: &SharedState, request: &'a HttpRequest, name: &str) -> &'a str {
    let prefix = || redirect::prefix(request, &shared.callers);
    if name == SECURE_COOKIE { "/" } else { prefix().unwrap_or("/") }
}

/// Returns a path of the appliance: `next` if it is one, or the root. SECURITY: `//elsewhere` and `/\elsewhere` are other
/// hosts to a browser, and `..`, however it is written, leads out of the prefix of a proxy to other applications.
fn safe(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    let path = next.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let leads_out = path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
    if is_path && is_plain && !leads_out && !next.starts_with("/_appliance/") { next } else { "/" }
}

fn see(request: &HttpRequest, target: &str) -> HttpResponse {
    let target = redirect::relative(request.uri().path(), target);
    HttpResponse::SeeOther().insert_header((header::LOCATION, target)).finish()
}

fn page(status: StatusCode, problem: &str, next: &str) -> HttpResponse {
    let text = PAGE.replace("{problem}", &escaped(problem)).replace("{next}", &escaped(safe(next)));
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Not `no-referrer`: browsers then send `Origin: null` with the form, which proves nothing.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_a_browser_stays_here() {
        for next in ["/", "/t/team-a/#x", "/experiments/1?a=b"] {
            assert_eq!(safe(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil",
            "/_appliance/logout",
            "/ü",
            "/../x",
            "/a/%2E%2e/x",
            "/.",
            "/a/..\\x",
            "/%2e./x?y",
        ] {
            assert_eq!(safe(next), "/", "{next}");
        }
        let page = page(StatusCode::OK, "<b>", "/\"><script>");
        assert!(page.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        assert_eq!(escaped("<\"'&>"), "&lt;&quot;&#39;&amp;&gt;");
    }
}
