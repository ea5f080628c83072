//! The end of a sign-in: the browser comes back from the identity provider with a code.

use ring::rand::SystemRandom;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::access::code_flow::{self, ResumedFlow};
use crate::access::jwt::{JwtClaims, UnverifiedJwt};
use crate::access::openid::{self, AuthorizationResponse, Provider};
use crate::clock;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::issuers::IssuerState;
use crate::serve::auth::issuers::sign_on::IssuerSignOn;
use crate::serve::auth::sign_in_response::{SignInError, SignInResponse, SignInResult};
use crate::serve::auth::sign_on::error::SignOnError;
use crate::serve::auth::sign_on::request::SignOnRequest;
use crate::serve::auth::sign_on::{exchange, flow_cookie};
use crate::serve::auth::{redirect, session_cookie};

/// The longest wait for a permit.
const PERMIT_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn callback(sign_on: &SignOnRequest<'_>) -> Result<SignInResponse, SignInError> {
    let query = sign_on.browser.request.uri().query().unwrap_or_default();
    let response = AuthorizationResponse::parse(query).map_err(SignOnError::from)?;
    let sessions = sign_on.callers.sessions.get().map_err(AccessError::from)?;
    let sealer = &sessions.sealer;
    // SECURITY: nothing in the response counts before this. It rejects the responses that belong to sign-ins of others, with
    // which somebody could sign a visitor in under another name.
    let resumed = code_flow::resume(sealer, &response.state, flow_cookie::of(sign_on), clock::now());
    let resumed = resumed.map_err(SignOnError::from)?;
    let (issuer, client) = sign_on.issuer(&resumed.flow.issuer).ok_or(SignInError::NoSuchPage)?;
    let provider = issuer.provider()?;
    // SECURITY: a malicious provider could otherwise make the appliance send it the code of another one (RFC 9207).
    let is_named = response.issuer.as_deref().map_or(!provider.names_itself, |named| named == issuer.issuer().url);
    if !is_named {
        return Err(SignOnError::MixUp.into());
    }
    let code = response.result.map_err(|(code, description)| SignOnError::Refused { code, description })?;
    let claims = claims(sign_on, (issuer, client, &provider), &resumed, &code).await?;
    let now = clock::now();
    let (caller, session) = issuer.begin_session(&claims, now + sessions.lifetime)?;
    let session = session.seal(sealer, &SystemRandom::new()).map_err(SignOnError::from)?;
    let next = sign_on.browser.path_to(redirect::own_path(&resumed.flow.next));
    let mut response = redirect::see_other_privately(&next);
    session_cookie::begin(&mut response, sign_on.browser, (&session, sessions.lifetime));
    Ok(SignInResponse { response, result: SignInResult::SignedIn(caller) })
}

/// Exchanges the code, and returns the verified claims about the person.
async fn claims(
    sign_on: &SignOnRequest<'_>,
    (issuer, client, provider): (&IssuerState, &IssuerSignOn, &Provider),
    resumed: &ResumedFlow,
    code: &str,
) -> Result<JwtClaims, SignOnError> {
    let callers = sign_on.callers;
    let permit = timeout(PERMIT_WAIT, callers.exchanges.acquire()).await.ok().flatten();
    let _permit = permit.ok_or(SignOnError::Busy)?;
    let exchanged = (code, resumed.flow.redirect_uri.as_str(), resumed.verifier.as_str());
    let secret = client.secret.current().await?;
    let tokens = exchange::tokens(sign_on.dialer, provider, (&client.client.id, secret.as_ref()), exchanged).await?;
    let jwt = UnverifiedJwt::parse(&tokens.id_token)?;
    let id = &client.client.id;
    let (claims, algorithm) = issuer.verify_id_token(&jwt, clock::now()).await?;
    let access_token = tokens.access_token.as_ref();
    let shown = access_token.map(ExposeSecret::expose_secret);
    openid::check_id_token(claims, id, &resumed.nonce, shown, algorithm)?;
    match (&provider.user_info, access_token) {
        (Some(address), Some(token)) if issuer.lacks(claims) => {
            let info = exchange::user_info(sign_on.dialer, address, token).await?;
            Ok(openid::merge_user_info(claims, info)?)
        }
        _ => Ok(claims.clone()),
    }
}
