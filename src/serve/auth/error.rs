//! Why somebody is not let in, or not to that.
//!
//! What a caller hears is less than what the log says: a stranger need not know whether a token was ever known.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;

use crate::access::address::InvalidForwardedFor;
use crate::access::limits::Excess;
use crate::access::oidc::OidcError;
use crate::access::policy::Denied;
use crate::access::tokens::Rejected;

/// The tokens have not been read from where AWS keeps them. Without credentials nobody can ask AWS; then that is said.
#[derive(Debug, thiserror::Error)]
#[error("the tokens are not known yet{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
pub(crate) struct TokensUnknown(pub Option<Arc<String>>);

/// Why a caller is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// Nothing was presented, and strangers are not let in.
    #[error("no token was presented")]
    Nothing,
    /// `Authorization` is neither Bearer nor Basic, or occurs twice.
    #[error("`authorization` cannot be read")]
    Authorization,
    /// `Authorization` is a signature with AWS credentials.
    #[error("the request is signed with AWS credentials and brings no token")]
    Signed,
    /// The token is not valid.
    #[error("the token is refused: {0}")]
    Token(#[from] Rejected),
    /// The certificate of the connection was valid when the connection began, and is not any more.
    #[error("the client certificate of the connection has expired, or its authority is not trusted any more")]
    Certificate,
    /// The load balancer's word is not believed.
    #[error("`x-amzn-oidc-data` is refused: {0}")]
    Oidc(#[from] OidcError),
    /// The user signed in, but there is no grant for them.
    #[error("no `[[caller]]` is meant for this user")]
    NoGrant,
    /// The user signed in, but has no name that can be logged.
    #[error("the claim that names the user is missing or cannot be a name")]
    NoName,
    /// The tokens have not been read yet; with the reason, if it is known.
    #[error(transparent)]
    TokensUnknown(#[from] TokensUnknown),
    /// From a network that is not let in.
    #[error("{0} is in none of the allowed networks")]
    Network(IpAddr),
    /// Where it comes from cannot be told.
    #[error(transparent)]
    Forwarded(#[from] InvalidForwardedFor),
    /// The caller may not use this target.
    #[error("the caller may not use the target")]
    Target,
    /// The caller may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The caller may not do what no route of MLflow's is known for.
    #[error("`{request}` is no known route: {denied}")]
    NoRoute {
        /// Method and path.
        request: String,
        /// Why that is not passed on.
        denied: Denied,
    },
    /// A browser's session may change things only from our own pages.
    #[error("a session was used without proof that one of our own pages did it")]
    Unproven,
    /// The caller asks for too much.
    #[error(transparent)]
    Excess(#[from] Excess),
}

impl AccessError {
    /// One word for logs, metrics and headers.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Authorization | Self::Signed => "unauthenticated",
            Self::Token(_) | Self::Certificate | Self::Oidc(_) => "unauthenticated",
            Self::NoGrant | Self::NoName => "no-grant",
            Self::TokensUnknown(_) => "tokens-unknown",
            Self::Network(_) | Self::Forwarded(_) => "foreign-network",
            Self::Target => "target-not-allowed",
            Self::Denied(denied) | Self::NoRoute { denied, .. } => match denied {
                Denied::Role { .. } => "role-too-low",
                Denied::Rule { .. } => "denied-by-rule",
            },
            Self::Unproven => "foreign-origin",
            Self::Excess(Excess::Rate(_)) => "rate-limited",
            Self::Excess(Excess::Concurrency) => "concurrency-limited",
        }
    }

    /// The status to answer with.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Nothing | Self::Authorization | Self::Signed => StatusCode::UNAUTHORIZED,
            Self::Token(_) | Self::Certificate | Self::Oidc(_) => StatusCode::UNAUTHORIZED,
            Self::TokensUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoGrant
            | Self::NoName
            | Self::Network(_)
            | Self::Forwarded(_)
            | Self::Target
            | Self::Denied(_)
            | Self::NoRoute { .. }
            | Self::Unproven => StatusCode::FORBIDDEN,
            Self::Excess(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What the caller may know, and can do.
    #[must_use]
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Nothing => "A token is needed: set MLFLOW_TRACKING_TOKEN, or send `Authorization: Bearer …`.".into(),
            Self::Authorization => {
                "The Authorization header cannot be read: send one, either `Bearer <token>` or Basic with the token \
                 as the password."
                    .into()
            }
            Self::Signed => {
                "The request is signed with AWS credentials, as AWS's plugin does it, and this appliance takes tokens: it \
                 signs by itself. Uninstall `sagemaker-mlflow`, unset SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT, and set \
                 MLFLOW_TRACKING_URI to the appliance's address and MLFLOW_TRACKING_TOKEN to a token."
                    .into()
            }
            Self::Token(_) => {
                "The token is not valid: it may be mistyped, expired or revoked. Ask the appliance's operator for \
                 another one."
                    .into()
            }
            Self::Certificate => {
                "The client certificate of this connection does not hold any more. Connect again with a valid one.".into()
            }
            Self::Oidc(_) => "The load balancer's statement about you is not accepted. Sign in again.".into(),
            Self::NoGrant | Self::NoName => {
                "You are signed in, but nothing is granted to you here. Ask the appliance's operator.".into()
            }
            Self::TokensUnknown(unknown) => match unknown.0.as_deref() {
                Some(why) => format!("The appliance cannot read its tokens at the moment: {why}."),
                None => "The appliance has not read its tokens yet. Try again shortly.".into(),
            },
            Self::Network(_) | Self::Forwarded(_) => "Requests from this network are not accepted.".into(),
            Self::Target => "You may not use this target of the appliance.".into(),
            Self::Denied(Denied::Role { action, needed, role }) => {
                format!("`{action}` needs the role `{needed}`, and yours is `{role}`.")
            }
            Self::Denied(Denied::Rule { action, .. }) => {
                format!("`{action}` is denied on this appliance by its operator.")
            }
            Self::NoRoute { request, denied } => {
                let consequence = match denied {
                    Denied::Role { needed, role, .. } => {
                        format!("Only the role `{needed}` may send such requests, and yours is `{role}`.")
                    }
                    Denied::Rule { .. } => {
                        "Such requests are denied to you, because they could do what the operator has denied.".to_owned()
                    }
                };
                format!("There is no route of MLflow that this version of the appliance knows: `{request}`. {consequence}")
            }
            Self::Unproven => "The request was not made by one of the appliance's own pages.".into(),
            Self::Excess(Excess::Rate(_)) => "You are sending too many requests per second.".into(),
            Self::Excess(Excess::Concurrency) => "You have too many requests running at the same time.".into(),
        }
    }

    /// When it makes sense to try again.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Excess(Excess::Rate(wait)) => Some(*wait),
            Self::Excess(Excess::Concurrency) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
