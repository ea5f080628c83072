//! Thin edges to AWS: signatures, credentials, roles.

pub mod credentials;
pub mod on_behalf;
pub mod role;
pub mod s3;
pub mod sdk;
pub mod secret;
pub mod sigv4;
