//! The appliance as a client of an OpenID provider: the provider's addresses, the requests to it, and what it answers.
//!
//! Pure, as all of `access`. OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0, RFC 9207.

mod authorization;
mod id_token;
mod provider;
mod token_request;

pub use authorization::{AuthorizationResponse, AuthorizationResponseError, authorization_url, end_session_url};
pub use id_token::{IdTokenError, check_id_token, merge_user_info};
pub use provider::{Provider, ProviderError};
pub use token_request::{ProviderRefusal, TokenResponse, TokenResponseError, basic_credentials, token_form};

/// The client that the appliance is at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIdClient {
    /// `client_id`.
    pub id: String,
    /// `scope`, with `openid` among its words.
    pub scopes: String,
    /// The name of the provider for people.
    pub label: String,
    /// The address to which the provider returns a browser; by default it follows from the request.
    pub redirect_url: Option<String>,
}
