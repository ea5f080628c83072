//! The beginning of a sign-in: sends the browser to the identity provider.

use actix_web::HttpResponse;
use actix_web::http::header;
use ring::rand::SystemRandom;
use url::Url;

use crate::access::code_flow::{self, SignInFlow};
use crate::access::openid;
use crate::clock;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::redirect;
use crate::serve::auth::sign_in_response::{SignInError, SignInResponse, SignInResult};
use crate::serve::auth::sign_on::error::SignOnError;
use crate::serve::auth::sign_on::flow_cookie;
use crate::serve::auth::sign_on::request::{SignOnRequest, start_path};
use crate::serve::page::PageLink;

/// Returns the ways to sign in at identity providers, for the page that this request is for.
pub(crate) fn ways(callers: &Callers, browser: BrowserRequest<'_>, next: &str) -> Vec<PageLink> {
    let issuers = callers.issuers.all().iter();
    let offered = issuers.filter_map(|issuer| Some((&issuer.issuer().name, issuer.sign_on()?)));
    let link = offered.map(|(name, client)| PageLink {
        label: format!("Sign in with {}", client.client.label),
        address: browser.path_to(&start_path(name, redirect::own_path(next))),
    });
    link.collect()
}

pub(super) async fn start(sign_on: &SignOnRequest<'_>) -> Result<SignInResponse, SignInError> {
    let name = sign_on.parameter("issuer").unwrap_or_default();
    let (issuer, client) = sign_on.issuer(&name).ok_or(SignInError::NoSuchPage)?;
    let sessions = sign_on.callers.sessions.get().map_err(AccessError::from)?;
    // Without the client secret, the sign-in would fail only when the person comes back.
    client.secret.check()?;
    let provider = issuer.discovered_provider().await?;
    if let Some(elsewhere) = elsewhere(sign_on, client.client.redirect_url.as_deref()) {
        return Ok(shown(HttpResponse::SeeOther().insert_header((header::LOCATION, elsewhere)).finish()));
    }
    let redirect_uri = sign_on.redirect_uri(client).ok_or(SignOnError::NoHost)?;
    let fragment = sign_on.parameter("fragment").filter(|fragment| !fragment.is_empty());
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let next = sign_on.parameter("next").unwrap_or_default() + &fragment;
    let flow = SignInFlow { issuer: name.clone(), redirect_uri, next: redirect::own_path(&next).to_owned() };
    let random = SystemRandom::new();
    let binding = code_flow::binding(flow_cookie::of(sign_on), &random).map_err(SignOnError::from)?;
    let redirect_uri = flow.redirect_uri.clone();
    let started = code_flow::begin(&sessions.sealer, flow, &binding, clock::now(), &random);
    let started = started.map_err(SignOnError::from)?;
    let is_again = sign_on.parameter("again").is_some();
    let to = openid::authorization_url(&provider, &client.client, &redirect_uri, &started, is_again);
    let mut response = redirect::see_other_privately(to.as_str());
    flow_cookie::set(&mut response, sign_on, &binding);
    Ok(shown(response))
}

/// Returns the address of this page on the host of the redirect URL, if the browser uses another one. Cookies belong to a
/// host, so the sign-in has to begin on the one on which it ends.
///
/// This happens once only, because a proxy may hide which host the browser uses.
fn elsewhere(sign_on: &SignOnRequest<'_>, redirect_url: Option<&str>) -> Option<String> {
    let (there, here) = (Url::parse(redirect_url?).ok()?, Url::parse(&sign_on.public_address()?).ok()?);
    if there.origin() == here.origin() || sign_on.parameter("moved").is_some() {
        return None;
    }
    let query = sign_on.browser.request.uri().query()?;
    let to = there.join("start").ok()?;
    Some(format!("{to}?{query}&moved=1"))
}

fn shown(response: HttpResponse) -> SignInResponse {
    SignInResponse { response, result: SignInResult::Shown }
}
