//! Pages for people with a browser: give a token once, get a session; end it.
//!
//! Plain HTML without scripts. The token is sent in the body of a form, never in a URL, and is not kept. A link to a
//! place within MLflow leads there after signing in: path and query travel in the form, the fragment with the browser.

use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use crate::access::caller::{AuthMethod, Caller};
use crate::access::token;
use crate::clock;
use crate::http::body::{BodyLimits, Timing, buffer};
use crate::http::uri;
use crate::serve::auth::browser;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
use crate::serve::auth::error::AccessError;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::authorize;
use crate::serve::pipeline::context::RequestContext;
use crate::serve::pipeline::redirect;
use crate::serve::worker::Worker;

/// Where people sign in.
pub(crate) const LOGIN: &str = "/_appliance/login";
/// Where they end it.
pub(crate) const LOGOUT: &str = "/_appliance/logout";
/// A form with a token and a path. Bytes.
const FORM_LIMIT: u64 = 16 * 1024;
/// SECURITY: strangers send it, and hold a connection meanwhile. A browser sends it in one piece.
const FORM_TIMING: Timing = Timing { idle_timeout: Duration::from_secs(10), total: Duration::from_secs(10) };
const PAGE: &str = include_str!("sign_in.html");
/// SECURITY: no scripts, no frames, nothing from elsewhere, and the form goes nowhere else.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Where to send a browser that asked for a page without being signed in; nothing if it is no person who waits.
#[must_use]
pub(crate) fn instead(request: &HttpRequest) -> Option<HttpResponse> {
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
pub(crate) async fn answer(
    worker: &Worker,
    request: &HttpRequest,
    path: &str,
    payload: web::Payload,
    record: &mut RequestContext,
) -> Result<HttpResponse, ProxyError> {
    match (path, request.method()) {
        (LOGIN, &(Method::GET | Method::HEAD)) => {
            let next = request.uri().query().and_then(|query| query.strip_prefix("next=")).unwrap_or_default();
            let next = percent_decode_str(next).decode_utf8_lossy();
            Ok(page(StatusCode::OK, "", &next))
        }
        (LOGIN, &Method::POST) => sign_in(worker, request, payload, record).await,
        (LOGOUT, &Method::POST) => {
            if !browser::is_from_own_page(request, &worker.shared.callers) {
                return Err(AccessError::Unproven.into());
            }
            let mut response = see(request, LOGIN);
            for name in [COOKIE, SECURE_COOKIE] {
                set_cookie(&mut response, (name, cookie_path(worker, request, name)), "", 0);
            }
            Ok(response)
        }
        // Not the page itself: its form is sent to where it is shown, and that would sign out.
        (LOGOUT, &(Method::GET | Method::HEAD)) => Ok(see(request, LOGIN)),
        _ => Err(ProxyError::Method),
    }
}

async fn sign_in(
    worker: &Worker,
    request: &HttpRequest,
    payload: web::Payload,
    record: &mut RequestContext,
) -> Result<HttpResponse, ProxyError> {
    let callers = &worker.shared.callers;
    // SECURITY: otherwise another site could sign a visitor in as somebody else, and read what they then log.
    if !browser::is_from_own_page(request, &worker.shared.callers) {
        return Err(AccessError::Unproven.into());
    }
    let (size_limit, memory_limit, timing) = (FORM_LIMIT, FORM_LIMIT, FORM_TIMING);
    let intake = BodyLimits { size_limit, memory_limit, timing, ..worker.intake.clone() };
    let received = buffer(payload, None, &intake, &record.account()).await?;
    let Some(bytes) = received.body.bytes() else { return Err(ProxyError::Busy) };
    let field = |name: &str| form_urlencoded::parse(bytes).find(|(key, _)| key == name).map(|(_, value)| value);
    let given = SecretString::from(field("token").unwrap_or_default().into_owned());
    let next = field("next").unwrap_or_default();
    let now = clock::now();
    let token = given.expose_secret().trim();
    let caller = match callers.holder(token, now) {
        Ok(caller) => caller,
        Err(refusal) => {
            authorize::count_rejection(worker, record, refusal.status())?;
            record.refusal = Some(refusal.kind());
            record.cause = Some(refusal.to_string());
            return Ok(page(refusal.status(), &refusal.message(), &next));
        }
    };
    authorize::count(worker, Caller { means: AuthMethod::Session, ..caller }, record)?;
    let session = callers.sessions.begin(token::id(token).unwrap_or_default(), now);
    let name = authorize::session_cookie(worker, request);
    let mut response = see(request, safe(&next));
    let path = cookie_path(worker, request, name);
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

/// Where a browser sends a cookie: to what a trusted proxy shows of us, so that what it shows beside us does not see it.
///
/// SECURITY: over TLS the name says that the cookie is for the whole host (`__Host-`, RFC 6265bis). It is worth more that
/// no sibling domain can set it than that nothing else on the host sees it: pages of one host are one origin anyway.
fn cookie_path<'a>(worker: &Worker, request: &'a HttpRequest, name: &str) -> &'a str {
    let prefix = || redirect::prefix(request, &worker.shared.callers);
    if name == SECURE_COOKIE { "/" } else { prefix().unwrap_or("/") }
}

/// A path of ours. SECURITY: `//elsewhere` and `/\elsewhere` are other hosts to a browser, and `..`, however it is written,
/// leads out of the prefix of a proxy, to what is shown beside us.
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
