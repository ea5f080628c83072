//! Thin edges to AWS: signatures, credentials, roles.

pub mod credentials;
pub mod role;
pub mod sdk;
pub mod sigv4;
