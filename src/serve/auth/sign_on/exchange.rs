//! The two requests of the appliance to an identity provider: for the tokens, and for more about the person.
//!
//! SECURITY: anybody can begin a sign-in and come back with a made-up code, so few exchanges run at once, each with limits
//! for time and size and without redirects; and a flood displaces itself.

use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::Url;

use crate::access::openid::{Provider, TokenResponse, basic_credentials, token_form};
use crate::http::client::{Dialer, ServiceClient, ServiceLimits, ServiceResponse};
use crate::http::fields::Fields;
use crate::issuer::Location;
use crate::serve::auth::sign_on::error::SignOnError;

/// The longest time for one request. The person waits for it.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest response. People in hundreds of groups have long ones.
const SIZE_LIMIT: usize = 256 * 1024;

/// Exchanges a code for tokens, as the client with this id and secret.
///
/// # Errors
/// [`SignOnError`].
pub(super) async fn tokens(
    dialer: &Dialer,
    provider: &Provider,
    (id, secret): (&str, Option<&SecretString>),
    (code, redirect_uri, verifier): (&str, &str, &str),
) -> Result<TokenResponse, SignOnError> {
    let mut headers = Fields::new();
    headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let in_form = secret.filter(|_| provider.posts_secret).map(SecretString::expose_secret);
    if let Some(secret) = secret.filter(|_| !provider.posts_secret) {
        headers.append(header::AUTHORIZATION, sensitive(&basic_credentials(id, secret.expose_secret()))?);
    }
    let form = token_form(id, in_form, code, redirect_uri, verifier);
    let body = Bytes::from(form.expose_secret().to_owned());
    let response = send(dialer, "token", Method::POST, &provider.token, headers, body).await?;
    Ok(TokenResponse::parse(response.status.as_u16(), &response.body)?)
}

/// Requests what the provider tells about the holder of an access token.
///
/// # Errors
/// [`SignOnError`].
pub(super) async fn user_info(
    dialer: &Dialer,
    address: &Url,
    access_token: &SecretString,
) -> Result<Map<String, Value>, SignOnError> {
    let mut headers = Fields::new();
    let bearer = SecretString::from(format!("Bearer {}", access_token.expose_secret()));
    headers.append(header::AUTHORIZATION, sensitive(&bearer)?);
    let response = send(dialer, "user info", Method::GET, address, headers, Bytes::new()).await?;
    let document = (response.status == StatusCode::OK).then(|| serde_json::from_slice(&response.body).ok());
    document.flatten().ok_or(SignOnError::UserInfo(response.status))
}

async fn send(
    dialer: &Dialer,
    request: &'static str,
    method: Method,
    address: &Url,
    mut headers: Fields,
    body: Bytes,
) -> Result<ServiceResponse, SignOnError> {
    let location = Location::parse(address.as_str()).expect("the provider's addresses were checked");
    // The deadline below comes first, and says more.
    let limits = ServiceLimits { exchange_timeout: 2 * DEADLINE, keep_alive: Duration::ZERO, body_limit: SIZE_LIMIT };
    let client = ServiceClient::new(dialer.to(location.endpoint), limits);
    headers.append(header::ACCEPT, HeaderValue::from_static("application/json"));
    let exchange = client.exchange(method, &location.target, headers, body);
    let response = timeout(DEADLINE, exchange).await;
    let response = response.map_err(|_| SignOnError::Timeout { request, limit: DEADLINE })?;
    response.map_err(|source| SignOnError::Exchange { request, source })
}

fn sensitive(value: &SecretString) -> Result<HeaderValue, SignOnError> {
    let mut value = HeaderValue::try_from(value.expose_secret())
        .map_err(|_| SignOnError::Secret("it has characters that no header can have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
