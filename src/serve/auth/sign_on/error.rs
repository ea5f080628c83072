//! The reasons why a person cannot sign in at an identity provider.
//!
//! The log has the cause. The person reads what to do, and nothing about hosts, secrets or other people.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;

use crate::access::code_flow::StateError;
use crate::access::jwt::JwtError;
use crate::access::openid::{AuthorizationResponseError, IdTokenError, ProviderError, TokenResponseError};
use crate::access::token::NoRandomness;
use crate::http::client::ServiceClientError;
use crate::http::uri;
use crate::serve::auth::sign_on::paths::START;

/// The reason why a person cannot sign in at an identity provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignOnError {
    /// The address to which the provider has returned the browser is not a response.
    #[error("the address is not an authorization response: {0}")]
    Response(#[from] AuthorizationResponseError),
    /// The response belongs to no sign-in of this browser.
    #[error("the response does not belong to a sign-in of this browser: {0}")]
    State(#[from] StateError),
    /// Another provider than the one that was asked has sent the response.
    #[error("the response is from another identity provider than the one that was asked")]
    MixUp,
    /// The provider has not signed the person in.
    #[error("the identity provider answered `{code}`{}", .description.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused { code: String, description: Option<String> },
    /// The discovery document has not been fetched yet.
    #[error("the discovery document of the identity provider has not been fetched yet")]
    NotDiscovered,
    /// The discovery document cannot be used.
    #[error("the identity provider cannot be used")]
    Provider(#[from] ProviderError),
    /// The request does not say by which name the browser addresses the appliance.
    #[error("the request has no valid `Host`, and `redirect-url` is not set")]
    NoHost,
    /// The provider did not respond.
    #[error("the identity provider did not respond to the {request} request")]
    Exchange {
        request: &'static str,
        #[source]
        source: ServiceClientError,
    },
    /// The provider took too long.
    #[error("the identity provider did not respond to the {request} request within {} s", .limit.as_secs())]
    Timeout { request: &'static str, limit: Duration },
    /// The provider has not issued a token.
    #[error(transparent)]
    Token(#[from] TokenResponseError),
    /// The user info is an error, or not an object of JSON.
    #[error("the user info has the status {0}, or is not an object of JSON")]
    UserInfo(StatusCode),
    /// The ID token is not valid.
    #[error("the ID token is rejected: {0}")]
    Jwt(#[from] JwtError),
    /// The ID token is valid, and not for this sign-in.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// The person has signed in, and nothing is granted to them.
    #[error("no `[[caller]]` of `{issuer}` matches this person{}", .person.as_ref().map(|name| format!(", whose name is `{name}`")).unwrap_or_default())]
    NoGrant {
        /// The name of the issuer.
        issuer: Arc<str>,
        person: Option<String>,
    },
    /// The person has signed in, and has no name for the log.
    #[error("the claim that names the person is missing")]
    NoName,
    /// The client's secret cannot be read.
    #[error("the secret of the client cannot be read: {0}")]
    Secret(String),
    /// AWS stores the client's secret, and the appliance has not read it yet; with the reason, if it is known.
    #[error("the secret of the client is not known yet{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    SecretUnknown(Option<Arc<String>>),
    /// Too many people sign in at this moment.
    #[error("too many sign-ins wait for the identity provider")]
    Busy,
    /// The system has no randomness to give.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The error code and the status where starting again may help. 401 would send the browser to the provider again, and in a
/// circle.
const REJECTED: (&str, StatusCode) = ("sign-in-rejected", StatusCode::FORBIDDEN);
/// The error code and the status where the person has no access.
const NO_ACCESS: (&str, StatusCode) = ("no-grant", StatusCode::FORBIDDEN);
/// The error code and the status where the provider, or its configuration here, does not work.
const BROKEN: (&str, StatusCode) = ("identity-provider-failed", StatusCode::BAD_GATEWAY);

impl SignOnError {
    /// Returns the error code for logs, metrics and headers, and the status of the response.
    pub(crate) fn class(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Response(_) | Self::State(_) | Self::MixUp | Self::Refused { .. } | Self::IdToken(_) => REJECTED,
            Self::Token(TokenResponseError::Code(_)) => REJECTED,
            Self::Jwt(JwtError::NoKeys) => BROKEN,
            Self::Jwt(_) => REJECTED,
            Self::NoGrant { .. } | Self::NoName => NO_ACCESS,
            Self::NotDiscovered | Self::Provider(_) | Self::NoHost | Self::Exchange { .. } => BROKEN,
            Self::Timeout { .. } | Self::Token(_) | Self::UserInfo(_) | Self::Secret(_) | Self::Random(_) => BROKEN,
            Self::SecretUnknown(_) => ("client-secret-unknown", StatusCode::SERVICE_UNAVAILABLE),
            Self::Busy => ("identity-provider-failed", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Returns the status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.class().1
    }

    /// Returns the path, without a slash at its beginning, at which another person can sign in, if that helps.
    pub(crate) fn other_person(&self) -> Option<String> {
        let Self::NoGrant { issuer, .. } = self else { return None };
        Some(format!("{}?issuer={}&next=%2F&again=yes", START.trim_start_matches('/'), uri::encoded(issuer)))
    }

    /// Returns the message for the person, with what the person can do.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::State(StateError::NoCookie) => {
                "Your browser sent no cookie of this sign-in. Allow cookies for this site, and sign in again.".into()
            }
            Self::State(StateError::Expired) => "The sign-in took too long. Sign in again.".into(),
            Self::Response(_) | Self::State(StateError::Foreign) | Self::MixUp => {
                "This address does not belong to a sign-in of this browser. Open MLflow and sign in again.".into()
            }
            Self::Refused { code, description } => {
                let text = description.as_deref().unwrap_or_default();
                format!("The identity provider did not sign you in ({code}). {text}").trim_end().to_owned()
            }
            Self::Token(TokenResponseError::Code(_)) => {
                "The identity provider does not accept this sign-in any more. Open MLflow and sign in again.".into()
            }
            Self::Jwt(JwtError::NoKeys) => {
                "The appliance cannot obtain the identity provider's keys at the moment. Try again shortly.".into()
            }
            Self::Jwt(_) | Self::IdToken(_) => {
                "The identity provider's statement about you is not valid. Sign in again; if that does not help, ask the \
                 appliance's operator."
                    .into()
            }
            Self::NoGrant { person: Some(name), .. } => {
                format!("You are signed in as {name}, but you have no access here. Ask the appliance's operator.")
            }
            Self::NoGrant { person: None, .. } | Self::NoName => {
                "You are signed in, but you have no access here. Ask the appliance's operator.".into()
            }
            Self::SecretUnknown(_) => {
                "The appliance has not yet read the secret with which it signs people in at this identity provider. Try again \
                 shortly."
                    .into()
            }
            Self::Busy => "Too many people are signing in at the moment. Try again shortly.".into(),
            Self::NotDiscovered | Self::Exchange { .. } | Self::Timeout { .. } => {
                "The identity provider cannot be reached at the moment. Try again shortly.".into()
            }
            Self::Provider(_)
            | Self::NoHost
            | Self::Token(_)
            | Self::UserInfo(_)
            | Self::Secret(_)
            | Self::Random(_) => {
                "The appliance could not sign you in. Its operator finds the reason in the log.".into()
            }
        }
    }
}
