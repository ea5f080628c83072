//! Calls of AWS's services without their SDKs: each of these is too little to be worth one.

#[cfg(feature = "deploy")]
pub mod account;
pub mod caller_identity;
pub mod catalog;
#[cfg(feature = "deploy")]
pub mod cloudformation;
pub mod describe;
mod error;
pub mod imds;
pub mod json;
pub mod log_events;
pub mod parameters;
pub mod presign;
pub mod query;
mod sagemaker;
#[cfg(feature = "deploy")]
pub mod service;
pub mod stored_secret;
mod transport;

pub use error::ApiError;
pub use transport::{SignedRequest, Transport, insert_signature};
