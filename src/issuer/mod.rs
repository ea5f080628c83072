//! Trusted issuers on the network: their discovery documents and their keys.
//!
//! One fetch at a time, with limits for time and size, and without redirects: what is fetched decides who gets in.

mod discovery;
mod error;
mod fetch;
mod location;
mod trusted;

pub use discovery::DiscoveryDocument;
pub use error::IssuerError;
pub use fetch::{FetchedKeys, fetch, reach, read_keys};
pub use location::Location;
pub use trusted::{KeySource, TrustedIssuer};
