//! Everything that operators and auditors learn about requests.

pub(crate) mod audit;
pub(crate) mod metrics;
pub(crate) mod spans;
