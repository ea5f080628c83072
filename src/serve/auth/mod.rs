//! Authentication: finds the caller of a request by token, session, load balancer, certificate or AWS identity.

pub(crate) mod aws_identities;
pub(crate) mod aws_token_cache;
mod balancer;
pub(crate) mod browser;
pub(crate) mod callers;
pub(crate) mod certificate;
pub(crate) mod client_secret;
pub(crate) mod credentials;
pub(crate) mod error;
pub(crate) mod issuers;
pub(crate) mod keys;
pub(crate) mod overview;
mod personal_holder;
pub(crate) mod personal_store;
pub(crate) mod personal_task;
pub(crate) mod redirect;
pub(crate) mod secret_reader;
pub(crate) mod service_clients;
pub(crate) mod session_cookie;
pub(crate) mod session_store;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod sign_in_page;
pub(crate) mod sign_in_response;
pub(crate) mod sign_on;
pub(crate) mod token_store;
pub(crate) mod visitor;
