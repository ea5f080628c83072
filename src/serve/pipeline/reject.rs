//! Reject: makes the client's response out of an error: a document for programs, a page or the way to sign in for people.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};

use crate::error_chain;
use crate::serve::auth::browser::{self, BrowserRequest};
use crate::serve::auth::callers::Callers;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::issuers::JwtRejection;
use crate::serve::context::RequestContext;
use crate::serve::error::{ErrorLinks, ProxyError};
use crate::serve::pipeline::respond;

/// Responds with an error, or sends a browser without a session to the sign-in page.
pub(super) fn reject(
    callers: &Callers,
    browser: BrowserRequest<'_>,
    error: ProxyError,
    context: RequestContext,
) -> HttpResponse {
    let log = &context.log;
    // An outage and a caller's limits say nothing about its rights.
    if matches!(&error, ProxyError::Access(_))
        && matches!(error.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    {
        log.denied();
    }
    let excess = callers.count_rejection(log.caller(), log.client(), error.status()).err();
    let error = excess.map_or(error, ProxyError::from);
    if let ProxyError::Access(AccessError::Jwt(JwtRejection { issuer: Some(issuer), .. })) = &error {
        log.rejected_issuer(issuer);
    }
    log.rejected(error.error_code(), error_chain::joined(&error));
    if error.concerns_operator() {
        log.alarming(None);
    }
    let can_sign_in = callers.can_sign_in();
    let is_signing_in_the_cure = can_sign_in
        && error.status() == StatusCode::UNAUTHORIZED
        && !matches!(error, ProxyError::Access(AccessError::Certificate));
    let response = if !browser::wants_page(browser.request.headers()) {
        error.response(log.request_id.as_str())
    } else if is_signing_in_the_cure && browser.request.method() == Method::GET {
        browser.see_other(&browser.login_then())
    } else {
        let sign_in = can_sign_in.then(|| browser.path_to(&browser.login_then()));
        error.page(log.request_id.as_str(), ErrorLinks { start: browser.path_to("/"), sign_in })
    };
    respond::own(response, context)
}
