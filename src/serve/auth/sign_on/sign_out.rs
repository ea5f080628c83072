//! The end of a session at the identity provider as well (OpenID Connect RP-Initiated Logout 1.0).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use url::Url;

use crate::access::issuer_session::IssuerSession;
use crate::access::openid;
use crate::clock;
use crate::serve::auth::sign_on::paths::{CALLBACK, SIGNED_OUT};
use crate::serve::auth::sign_on::request::SignOnRequest;
use crate::serve::page::Page;
use crate::serve::page::template::{Place, fill};

const CONTENT: &str = "<h1>You are signed out of MLflow</h1><p>Continue to sign out at the identity provider as well.</p>\
                       <a class=\"button primary\" href=\"{{address}}\">Sign out at {{label}}</a>";

/// Returns the page that leads on to the sign-out at the provider; nothing if no provider has named the holder of the
/// request's session, or if it has no such address.
///
/// The answer is a page and no redirect, because the content security policy of our pages stops browsers from following the
/// redirect of a form to another site.
pub(crate) fn sign_out(sign_on: &SignOnRequest<'_>) -> Option<HttpResponse> {
    let (address, label) = at_provider(sign_on)?;
    let content = fill(CONTENT, &[("address", Place::Text(address.as_str())), ("label", Place::Text(&label))]);
    let mut response = Page { title: "Signed out of MLflow", content, script: None }.response(StatusCode::OK);
    let refresh = HeaderValue::try_from(format!("0; url={address}")).ok()?;
    response.headers_mut().insert(header::REFRESH, refresh);
    Some(response)
}

/// Returns the address at which the person signs out, and the name of the provider.
///
/// There is no `id_token_hint`, because an ID token is too large for a cookie. So the provider may ask the person.
fn at_provider(sign_on: &SignOnRequest<'_>) -> Option<(Url, String)> {
    let value = sign_on.browser.session()?;
    let session = IssuerSession::open(&sign_on.callers.sessions.get().ok()?.sealer, value, clock::now())?;
    let (issuer, client) = sign_on.issuer(&session.issuer)?;
    let provider = issuer.provider().ok()?;
    let configured = client.client.redirect_url.as_deref().and_then(|url| url.strip_suffix(CALLBACK));
    let root = configured.map(ToOwned::to_owned).or_else(|| sign_on.public_address())?;
    let address = openid::end_session_url(&provider, &client.client, &format!("{root}{SIGNED_OUT}"))?;
    Some((address, client.client.label.clone()))
}
