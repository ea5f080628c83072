//! The records of requests for operators and auditors: audit log, metrics and spans.

pub(crate) mod audit;
pub(crate) mod metrics;
pub(crate) mod spans;
