//! The servers behind the appliance: each target, and the S3 of its artifacts.

pub(crate) mod clock_skew;
pub(crate) mod endpoints;
pub(crate) mod mlflow;
pub(crate) mod retry_executor;
pub(crate) mod retry_rules;
pub(crate) mod s3;
pub(crate) mod served_target;
pub(crate) mod settings;
mod signed_chunks;
pub(crate) mod signing_identity;
pub(crate) mod target_names;
