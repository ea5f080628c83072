//! The servers behind the appliance: each target, and the S3 of its artifacts.

pub(crate) mod backend;
pub(crate) mod clock_skew;
pub(crate) mod identity;
pub(crate) mod mlflow;
pub(crate) mod retry;
pub(crate) mod s3;
