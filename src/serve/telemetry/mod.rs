//! The records of requests for operators and auditors: audit log, metrics and spans, and the export of logs.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod error_codes;
pub(crate) mod finished;
pub(crate) mod log_export;
pub(crate) mod metrics;
mod report;
pub(crate) mod request_reports;
pub(crate) mod spans;
