//! Authentication: finds the caller of a request by token, session, load balancer, certificate or AWS identity.

pub(crate) mod aws_identities;
pub(crate) mod aws_token_cache;
pub(crate) mod browser;
pub(crate) mod callers;
pub(crate) mod certificate;
pub(crate) mod credentials;
pub(crate) mod error;
pub(crate) mod keys;
pub(crate) mod redirect;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod sts_clients;
pub(crate) mod token_store;
