//! Signing in at an identity provider: the authorization code flow of OpenID Connect, with PKCE, state and nonce.
//!
//! `start` sends the browser to the provider, and `callback` is where it comes back. Between them the appliance keeps nothing:
//! see [`crate::access::code_flow`].

mod callback;
pub(crate) mod error;
mod exchange;
mod flow_cookie;
mod paths;
mod provider_page;
mod public_address;
mod request;
mod sign_out;
mod start;

use actix_web::http::Method;

pub(crate) use paths::START;
pub use paths::{CALLBACK, SIGNED_OUT};
pub(crate) use provider_page::provider_page;
pub(crate) use request::SignOnRequest;
pub(crate) use sign_out::sign_out;
pub(crate) use start::ways;

use crate::serve::auth::sign_in_response::{SignInError, SignInResponse};

/// Answers a request for the page at this path.
///
/// # Errors
/// [`SignInError`].
pub(crate) async fn answer(sign_on: SignOnRequest<'_>, path: &str) -> Result<SignInResponse, SignInError> {
    match path {
        _ if sign_on.browser.request.method() != Method::GET => Err(SignInError::NoSuchPage),
        START => start::start(&sign_on).await,
        _ => callback::callback(&sign_on).await,
    }
}
