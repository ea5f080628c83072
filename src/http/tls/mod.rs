//! TLS, with ring as the only cryptography: here towards upstreams, in [`server`] towards callers.

mod alpn;
pub mod certificate;
mod client_verifier;
pub mod pinned;
pub mod server;
mod trust;

pub use alpn::{HTTP1, HTTP2};
pub use trust::{TrustError, client_config, read_certificates};
