//! Signatures, credentials and roles of AWS. The calls of AWS's services are in `crate::api`.

pub mod caller_sessions;
pub mod credentials;
pub mod outcomes;
pub mod presigned;
mod regional;
pub mod role;
pub mod s3;
pub mod sdk;
pub mod secret;
pub mod sigv4;
pub mod skew;
pub mod source;
mod tunnelled;

pub use regional::regional_host;
