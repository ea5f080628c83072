//! The errors of authentication and authorization.
//!
//! The message for the caller says less than the log: an unauthenticated client need not learn whether a token ever existed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;

use crate::access::address::InvalidForwardedFor;
use crate::access::aws_token::AwsTokenError;
use crate::access::balancer_jwt::BalancerJwtError;
use crate::access::jwt::JwtError;
use crate::access::limits::Excess;
use crate::access::policy::Denied;
use crate::access::tokens::TokenRejection;
use crate::serve::auth::issuers::{JwtRejection, JwtRejectionReason};
use crate::serve::auth::session_store::SessionKeyUnknown;
use crate::serve::auth::sign_on::error::SignOnError;

/// The error code and the status of credentials that are missing or not valid.
const UNAUTHENTICATED: (&str, StatusCode) = ("unauthenticated", StatusCode::UNAUTHORIZED);

/// The appliance has not read the tokens that AWS keeps. If it has no credentials to read them with, the text says so.
#[derive(Debug, thiserror::Error)]
#[error("the tokens are not known yet{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
pub(crate) struct TokensUnknown(pub Option<Arc<String>>);

/// The reason why a caller is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The request has no credentials, and unauthenticated callers are not allowed.
    #[error("the request has no token")]
    NoCredential,
    /// `Authorization` is neither Bearer nor Basic, or occurs twice.
    #[error("`authorization` is malformed or repeated")]
    Authorization,
    /// `Authorization` is a signature with AWS credentials.
    #[error("the request is signed with AWS credentials and has no token")]
    SignedWithAws,
    /// The token is not valid.
    #[error("the token is rejected: {0}")]
    Token(#[from] TokenRejection),
    /// The JWT is not valid, or grants nothing.
    #[error(transparent)]
    Jwt(#[from] JwtRejection),
    /// The token is no JWT, and the issuers' JWTs are the only tokens that are accepted.
    #[error("the token is no JWT, and tokens of other kinds are not configured")]
    NotAJwt,
    /// A person cannot sign in at an identity provider. Boxed, since it is large and rare.
    #[error(transparent)]
    SignOn(#[from] Box<SignOnError>),
    /// The certificate of the connection was valid when the connection began, and is no longer valid.
    #[error("the client certificate of the connection has expired, or its authority is no longer trusted")]
    Certificate,
    /// The load balancer's statement is not valid.
    #[error("`x-amzn-oidc-data` is rejected: {0}")]
    Oidc(#[from] BalancerJwtError),
    /// The token with an AWS identity is not valid, or there is no grant for the identity.
    #[error("the AWS identity token is rejected: {0}")]
    AwsToken(#[from] AwsTokenError),
    /// STS cannot be asked about an AWS identity at the moment.
    #[error("STS did not confirm the AWS identity, because it cannot be asked at the moment")]
    StsUnavailable,
    /// The user signed in, but there is no grant for them.
    #[error("no `[[caller]]` matches this user")]
    NoGrant,
    /// The user signed in, but has no name that can be logged.
    #[error("the claim that names the user is missing or is not a valid name")]
    NoName,
    /// The tokens have not been read yet; with the reason, if it is known.
    #[error(transparent)]
    TokensUnknown(#[from] TokensUnknown),
    /// The key that signs sessions has not been read yet; with the reason, if it is known.
    #[error(transparent)]
    SessionKeyUnknown(#[from] SessionKeyUnknown),
    /// The client address is in a network that is not allowed.
    #[error("{0} is in none of the allowed networks")]
    Network(IpAddr),
    /// The client address cannot be read.
    #[error(transparent)]
    Forwarded(#[from] InvalidForwardedFor),
    /// The page of personal tokens is for people who have signed in.
    #[error("only a person who has signed in can manage personal tokens")]
    NotAPerson,
    /// The request is about the token that it presents, which is no personal one.
    #[error("only a personal token can describe or revoke itself")]
    NotPersonal,
    /// The caller may not use this target.
    #[error("the caller may not use the target")]
    TargetNotAllowed,
    /// The caller may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request matches no known route of MLflow, and the caller may not send such requests.
    #[error("`{request}` is not a known route: {denied}")]
    NoRoute {
        /// The method and path.
        request: String,
        /// The reason why it is not forwarded.
        denied: Denied,
    },
    /// A browser used its session, without proof that one of the appliance's own pages made it do so.
    #[error("a session was used without proof that one of the appliance's own pages sent the request")]
    Unproven,
    /// The request names a host that is not the appliance's.
    #[error("the host is not one of the allowed hosts")]
    ForeignHost,
    /// A browser sent the request for another site's page.
    #[error("the request comes from another site's page")]
    ForeignOrigin,
    /// The caller has reached a limit.
    #[error(transparent)]
    LimitExceeded(#[from] Excess),
}

impl From<SignOnError> for AccessError {
    fn from(error: SignOnError) -> Self {
        Self::SignOn(Box::new(error))
    }
}

impl AccessError {
    /// Returns the error code for logs, metrics and headers.
    pub(crate) fn error_code(&self) -> &'static str {
        self.class().0
    }

    /// Returns the status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.class().1
    }

    /// Returns the error code and the status.
    pub(crate) fn class(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NoCredential | Self::Authorization | Self::SignedWithAws | Self::Token(_) => UNAUTHENTICATED,
            Self::NotAJwt | Self::Certificate | Self::Oidc(_) => UNAUTHENTICATED,
            Self::Jwt(JwtRejection { why, .. }) => match why {
                JwtRejectionReason::Token(JwtError::NoKeys) => ("issuer-unavailable", StatusCode::SERVICE_UNAVAILABLE),
                JwtRejectionReason::Token(_) => UNAUTHENTICATED,
                JwtRejectionReason::NoGrant | JwtRejectionReason::NoName => ("no-grant", StatusCode::FORBIDDEN),
            },
            Self::SignOn(error) => error.class(),
            Self::AwsToken(AwsTokenError::NoGrant(_)) => ("no-grant", StatusCode::FORBIDDEN),
            Self::NoGrant | Self::NoName => ("no-grant", StatusCode::FORBIDDEN),
            Self::AwsToken(_) => UNAUTHENTICATED,
            Self::StsUnavailable => ("sts-unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::TokensUnknown(_) => ("tokens-unknown", StatusCode::SERVICE_UNAVAILABLE),
            Self::SessionKeyUnknown(_) => ("session-key-unknown", StatusCode::SERVICE_UNAVAILABLE),
            Self::Network(_) | Self::Forwarded(_) => ("foreign-network", StatusCode::FORBIDDEN),
            Self::NotAPerson | Self::NotPersonal => ("wrong-credential", StatusCode::FORBIDDEN),
            Self::TargetNotAllowed => ("target-not-allowed", StatusCode::FORBIDDEN),
            Self::Denied(denied) | Self::NoRoute { denied, .. } => match denied {
                Denied::Role { .. } => ("role-too-low", StatusCode::FORBIDDEN),
                Denied::Rule { .. } => ("denied-by-rule", StatusCode::FORBIDDEN),
            },
            Self::ForeignHost => ("foreign-host", StatusCode::FORBIDDEN),
            Self::Unproven | Self::ForeignOrigin => ("foreign-origin", StatusCode::FORBIDDEN),
            Self::LimitExceeded(Excess::Rate(_)) => ("rate-limited", StatusCode::TOO_MANY_REQUESTS),
            Self::LimitExceeded(Excess::Concurrency) => ("concurrency-limited", StatusCode::TOO_MANY_REQUESTS),
        }
    }

    /// Returns the message for the caller, with what the caller can do.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::NoCredential => "This appliance requires a token: set MLFLOW_TRACKING_TOKEN, or send `Authorization: Bearer …`.".into(),
            Self::Authorization => {
                "The Authorization header is malformed or repeated: send one, either `Bearer <token>` or Basic with the token \
                 as the password."
                    .into()
            }
            Self::SignedWithAws => {
                "The request is signed with AWS credentials, as by AWS's plugin, but this appliance signs requests itself and \
                 accepts tokens. Uninstall `sagemaker-mlflow`, unset SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT, and set \
                 MLFLOW_TRACKING_URI to the appliance's address and MLFLOW_TRACKING_TOKEN to a token."
                    .into()
            }
            Self::Token(_) => {
                "The token is not valid: it may be mistyped, expired or revoked. Ask the appliance's operator for \
                 a new one."
                    .into()
            }
            // The holder of a token needs the reason, and it tells nothing about other tokens.
            Self::Jwt(rejected @ JwtRejection { why, .. }) => match why {
                JwtRejectionReason::Token(JwtError::NoKeys) => {
                    "The appliance cannot obtain the keys of the token's issuer at the moment. Try again shortly.".into()
                }
                JwtRejectionReason::Token(_) => format!("The token is rejected: {}.", rejected.reason()),
                JwtRejectionReason::NoGrant | JwtRejectionReason::NoName => {
                    format!("The token is valid, but gives no access: {}. Ask the appliance's operator.", rejected.reason())
                }
            },
            Self::NotAJwt => {
                "The token is not a JWT, and this appliance accepts only the JWTs of its issuers. Ask its operator.".into()
            }
            Self::SignOn(error) => error.message(),
            Self::Certificate => {
                "The client certificate of this connection is no longer valid. Connect again with a valid one.".into()
            }
            Self::Oidc(_) => "The load balancer's statement about you is not valid. Sign in again.".into(),
            Self::AwsToken(AwsTokenError::NotConfigured) => {
                "This appliance does not accept AWS identities. Ask its operator for a token.".into()
            }
            Self::AwsToken(AwsTokenError::Expired) => {
                "The AWS identity token has expired. Make a new one, as with `appliance token aws`.".into()
            }
            Self::AwsToken(AwsTokenError::NoGrant(arn)) => {
                format!("AWS confirmed your identity `{arn}`, but it has no access here. Ask the appliance's operator.")
            }
            Self::AwsToken(_) => {
                "The AWS identity token is not valid: its audience, its region or its signature may be wrong. Make a new one, \
                 as with `appliance token aws`, and ask the appliance's operator for the audience."
                    .into()
            }
            Self::StsUnavailable => {
                "The appliance cannot confirm AWS identities at the moment. Try again shortly.".into()
            }
            Self::NoGrant | Self::NoName => {
                "You are signed in, but you have no access here. Ask the appliance's operator.".into()
            }
            Self::TokensUnknown(unknown) => match unknown.0.as_deref() {
                Some(why) => format!("The appliance cannot read its tokens at the moment: {why}."),
                None => "The appliance has not read its tokens yet. Try again shortly.".into(),
            },
            Self::SessionKeyUnknown(unknown) => match unknown.0.as_deref() {
                Some(why) => format!("The appliance cannot read the key of its sessions at the moment: {why}."),
                None => "The appliance has not read the key of its sessions yet. Try again shortly.".into(),
            },
            Self::Network(_) | Self::Forwarded(_) => "Requests from this network are not accepted.".into(),
            Self::NotAPerson => {
                "Only a person who has signed in can manage personal tokens. A token cannot make another one. Open this page in a \
                 browser, and sign in."
                    .into()
            }
            Self::NotPersonal => "Only a personal token can describe or revoke itself here.".into(),
            Self::TargetNotAllowed => "You may not use this target of the appliance.".into(),
            Self::Denied(Denied::Role { action, needed, role }) => {
                format!("`{action}` requires the role `{needed}`, and yours is `{role}`.")
            }
            Self::Denied(Denied::Rule { action, .. }) => {
                format!("The operator of this appliance has denied `{action}`.")
            }
            Self::NoRoute { request, denied } => {
                let consequence = match denied {
                    Denied::Role { needed, role, .. } => {
                        format!("Only the role `{needed}` may send such requests, and yours is `{role}`.")
                    }
                    Denied::Rule { .. } => {
                        "You may not send such requests, because they could do what the operator has denied.".to_owned()
                    }
                };
                format!("This version of the appliance knows no route of MLflow for `{request}`. {consequence}")
            }
            Self::Unproven => "The request does not come from one of the appliance's own pages.".into(),
            Self::ForeignHost => {
                "The appliance does not serve this host name. Its operator can add it with `allowed-hosts`.".into()
            }
            Self::ForeignOrigin => "A page of another site sent the request, so it is not forwarded.".into(),
            Self::LimitExceeded(Excess::Rate(_)) => "You are sending too many requests per second.".into(),
            Self::LimitExceeded(Excess::Concurrency) => "You have too many requests running at the same time.".into(),
        }
    }

    /// Returns the time after which a retry makes sense.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::LimitExceeded(Excess::Rate(wait)) => Some(*wait),
            Self::LimitExceeded(Excess::Concurrency) | Self::StsUnavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
