//! HTTP in both directions: headers, paths, bodies, connections and TLS. Nothing here depends on callers, policies or AWS.

pub mod blocking;
pub mod body;
pub mod client;
pub mod fields;
pub(crate) mod forward_writes;
pub mod headers;
mod idle_timer;
mod into_response;
pub mod request_framing;
pub mod tls;
pub mod trace_context;
pub mod uri;

pub use into_response::into_response;
