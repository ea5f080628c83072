//! The page of the token that a request presents: it shows the caller, role and end of the token, and revokes it.
//!
//! `appliance login` asks it until the token is accepted, and `appliance logout` revokes the token there.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tracing::info;

use crate::access::caller::{AuthMethod, Targets};
use crate::access::token;
use crate::serve::auth::credentials::{self, COOKIE, CallerCredentials};
use crate::serve::auth::error::AccessError;
use crate::serve::auth::personal_store::PersonalChange;
use crate::serve::error::ProxyError;
use crate::serve::personal::personal_request::{LIST, PersonalRequest, REVOKE};

/// Answers a request.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn answer(personal: &PersonalRequest<'_>) -> Result<HttpResponse, ProxyError> {
    let AuthMethod::Personal(owner) = personal.caller.auth_method else { return Err(AccessError::NotPersonal.into()) };
    let id = presented(personal.browser.request).ok_or(AccessError::NotPersonal)?;
    personal.log.concerns(&id);
    match *personal.browser.request.method() {
        Method::GET | Method::HEAD => {
            personal.log.classified(LIST);
            let tokens = personal.store.tokens();
            let entry = tokens.as_ref().and_then(|tokens| tokens.entry(&id)).ok_or(AccessError::NotPersonal)?;
            let targets = match &personal.caller.targets {
                Targets::All => None,
                Targets::Named(names) => Some(names),
            };
            let document = json!({
                "id": id,
                "name": entry.personal.as_ref().map(|personal| &personal.label),
                "owner": personal.caller.name,
                "means": owner.as_str(),
                "role": personal.caller.role.as_str(),
                "targets": targets,
                "expires": entry.expires.map(|end| humantime::format_rfc3339_seconds(end).to_string()),
            });
            Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(document))
        }
        Method::DELETE => {
            personal.log.classified(REVOKE);
            personal.store.change(PersonalChange::RevokeItself(id.clone())).await?;
            info!(owner = personal.caller.name, means = owner.as_str(), id, "a personal token was revoked");
            Ok(HttpResponse::NoContent().finish())
        }
        _ => Err(ProxyError::Method),
    }
}

/// Returns the id of the token in a request that it has authenticated.
fn presented(request: &HttpRequest) -> Option<String> {
    match credentials::of(request.headers(), COOKIE).ok()? {
        CallerCredentials::Token(presented) => token::id(presented.expose_secret()).map(ToOwned::to_owned),
        _ => None,
    }
}
