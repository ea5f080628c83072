//! The appliance as a client of an OpenID provider: the provider's addresses, the requests to it, and what it answers.
//!
//! Pure, as all of `access`. OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0, RFC 9207.

mod authorization;
mod client;
mod id_token;
mod provider;
mod token_request;

pub use authorization::{AuthorizationResponse, AuthorizationResponseError, authorization_url, end_session_url};
pub use client::OpenIdClient;
pub use id_token::{IdTokenError, check_id_token, merge_user_info};
pub use provider::{Provider, ProviderError};
pub use token_request::{ProviderRefusal, TokenResponse, TokenResponseError, basic_credentials, token_form};
