//! Wire tools that know nothing of callers, policies or AWS.

pub mod body;
pub mod client;
pub mod fields;
pub mod headers;
pub mod relay;
mod silence;
pub mod tls;
pub mod trace_context;
pub mod uri;
