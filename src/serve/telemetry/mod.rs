//! Everything that operators and auditors learn about requests.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod finished;
pub(crate) mod metrics;
mod report;
pub(crate) mod spans;
