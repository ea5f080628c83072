//! The pages on which a person with a browser exchanges a token for a session, and ends that session.
//!
//! They are plain HTML without scripts. The token is sent in the body of a form, never in a URL, and is not stored. A link to
//! a page of MLflow leads there after signing in: path and query travel in the form, the fragment with the browser.

use std::net::IpAddr;
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
use crate::http::body::{BodyLimits, BodyOwner, RequestBodyError, Timing, buffer};
use crate::http::uri;
use crate::serve::auth::browser;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::credentials::{COOKIE, SECURE_COOKIE};
use crate::serve::auth::error::AccessError;
use crate::serve::auth::redirect;

/// The path of the page on which people sign in.
pub(crate) const LOGIN: &str = "/_appliance/login";
/// The path that ends a session.
pub(crate) const LOGOUT: &str = "/_appliance/logout";
/// The limit of a form with a token and a path. Bytes.
const FORM_LIMIT: u64 = 16 * 1024;
/// SECURITY: unauthenticated clients send the form, and hold a connection meanwhile. A browser sends it in one piece.
const FORM_TIMING: Timing = Timing { idle_timeout: Duration::from_secs(10), total: Duration::from_secs(10) };
const PAGE: &str = include_str!("sign_in.html");
/// SECURITY: no scripts, no frames, nothing from elsewhere, and the form goes nowhere else.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A request for one of the pages, and what it takes to serve it.
pub(crate) struct SignInRequest<'a> {
    pub callers: &'a Callers,
    pub request: &'a HttpRequest,
    /// The address that failed attempts count against.
    pub client: Option<IpAddr>,
    /// If this is true, the listener speaks TLS.
    pub has_tls: bool,
    pub intake: &'a BodyLimits,
    /// The account of the memory that the form takes.
    pub account: BodyOwner,
}

/// The response to a request for one of the pages, and its result.
pub(crate) struct SignInResponse {
    pub response: HttpResponse,
    pub result: SignInResult,
}

/// The result of a request for one of the pages.
pub(crate) enum SignInResult {
    /// The page was shown, or a session has ended.
    Shown,
    /// The caller has signed in. The request still has to be counted against the caller's limits.
    SignedIn(Caller),
    /// The token was rejected.
    Rejected(AccessError),
}

/// A request for one of the pages has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Form(#[from] RequestBodyError),
    #[error("the memory for request bodies is used up")]
    Memory,
    #[error("the method is not allowed")]
    Method,
}

/// Returns the redirect of a browser that requests a page without being signed in, or nothing if it is not a person who waits.
#[must_use]
pub(crate) fn redirect_to_login(request: &HttpRequest) -> Option<HttpResponse> {
    let wants_page = request.headers().get(header::ACCEPT)?.to_str().ok()?.contains("text/html");
    if request.method() != Method::GET || !wants_page {
        return None;
    }
    let asked = request.uri().path_and_query().map_or("/", |target| target.as_str());
    Some(see_other(request, &format!("{LOGIN}?next={}", uri::encoded(asked))))
}

/// Answers a request for the page at this path.
///
/// # Errors
/// [`SignInError`].
pub(crate) async fn answer(
    sign_in: SignInRequest<'_>,
    path: &str,
    payload: web::Payload,
) -> Result<SignInResponse, SignInError> {
    let (callers, request) = (sign_in.callers, sign_in.request);
    let response = match (path, request.method()) {
        (LOGIN, &(Method::GET | Method::HEAD)) => {
            let next = request.uri().query().and_then(|query| query.strip_prefix("next=")).unwrap_or_default();
            page(StatusCode::OK, "", &percent_decode_str(next).decode_utf8_lossy())
        }
        (LOGIN, &Method::POST) => return submit(sign_in, payload).await,
        (LOGOUT, &Method::POST) => {
            if !browser::is_from_own_page(request, callers) {
                return Err(AccessError::Unproven.into());
            }
            let mut response = see_other(request, LOGIN);
            for name in [COOKIE, SECURE_COOKIE] {
                set_cookie(&mut response, (name, cookie_path(callers, request, name)), "", 0);
            }
            response
        }
        // A page shown here would send its form here, which would sign out.
        (LOGOUT, &(Method::GET | Method::HEAD)) => see_other(request, LOGIN),
        _ => return Err(SignInError::Method),
    };
    Ok(SignInResponse { response, result: SignInResult::Shown })
}

/// Begins a session for the token in the form.
async fn submit(sign_in: SignInRequest<'_>, payload: web::Payload) -> Result<SignInResponse, SignInError> {
    let SignInRequest { callers, request, client, has_tls, intake, account } = sign_in;
    // SECURITY: otherwise another site could sign a visitor in under another name, and read what the visitor then logs.
    if !browser::is_from_own_page(request, callers) {
        return Err(AccessError::Unproven.into());
    }
    let (size_limit, memory_limit, timing) = (FORM_LIMIT, FORM_LIMIT, FORM_TIMING);
    let intake = BodyLimits { size_limit, memory_limit, timing, ..intake.clone() };
    let received = buffer(payload, None, &intake, &account).await?;
    let Some(bytes) = received.body.bytes() else { return Err(SignInError::Memory) };
    let field = |name: &str| form_urlencoded::parse(bytes).find(|(key, _)| key == name).map(|(_, value)| value);
    let given = SecretString::from(field("token").unwrap_or_default().into_owned());
    let next = field("next").unwrap_or_default();
    let now = clock::now();
    let token = given.expose_secret().trim();
    let caller = match callers.tokens.holder(token, now) {
        Ok(caller) => Caller { means: AuthMethod::Session, ..caller },
        Err(error) => {
            callers.count_rejection(None, client, error.status())?;
            let response = page(error.status(), &error.message(), &next);
            return Ok(SignInResponse { response, result: SignInResult::Rejected(error) });
        }
    };
    let session = callers.sessions.begin(token::id(token).unwrap_or_default(), now);
    let name = browser::session_cookie(request, callers, has_tls);
    let mut response = see_other(request, safe(&next));
    set_cookie(
        &mut response,
        (name, cookie_path(callers, request, name)),
        &session,
        callers.sessions.lifetime.as_secs(),
    );
    Ok(SignInResponse { response, result: SignInResult::SignedIn(caller) })
}

/// Sets a cookie that scripts cannot read and other sites' forms do not send; `lifetime` is in seconds.
fn set_cookie(response: &mut HttpResponse, (name, path): (&str, &str), value: &str, lifetime: u64) {
    let secure = if name == SECURE_COOKIE { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Returns the path of a cookie: the prefix of a trusted proxy, so that a browser does not send the cookie to anything that the
/// proxy shows beside the appliance.
///
/// SECURITY: over TLS the name says that the cookie is for the whole host (`__Host-`, RFC 6265bis). That no sibling domain can
/// set it is worth more than that nothing else on the host sees it: pages of one host are one origin anyway.
fn cookie_path<'a>(callers: &Callers, request: &'a HttpRequest, name: &str) -> &'a str {
    let prefix = || redirect::prefix(request, callers);
    if name == SECURE_COOKIE { "/" } else { prefix().unwrap_or("/") }
}

/// Returns the path to go to after signing in, if it is one of the appliance's own, or `/`.
///
/// SECURITY: `//elsewhere` and `/\elsewhere` are other hosts to a browser, and `..`, however it is written, leads out of the
/// prefix of a proxy.
fn safe(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    let path = next.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let leads_out = path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
    if is_path && is_plain && !leads_out && !next.starts_with("/_appliance/") { next } else { "/" }
}

fn see_other(request: &HttpRequest, target: &str) -> HttpResponse {
    let target = redirect::relative(request.uri().path(), target);
    HttpResponse::SeeOther().insert_header((header::LOCATION, target)).finish()
}

fn page(status: StatusCode, problem: &str, next: &str) -> HttpResponse {
    let text = PAGE.replace("{problem}", &escaped(problem)).replace("{next}", &escaped(safe(next)));
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // With `no-referrer`, browsers would send `Origin: null` with the form, which proves nothing.
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
    fn a_browser_stays_on_the_appliance_after_signing_in() {
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
