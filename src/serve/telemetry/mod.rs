//! The records of requests for operators and auditors: audit log, metrics and spans.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod finished;
pub(crate) mod metrics;
mod report;
pub(crate) mod request_reports;
pub(crate) mod spans;
