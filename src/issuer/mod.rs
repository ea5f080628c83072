//! Trusted issuers on the network: their discovery documents and their keys.
//!
//! One fetch at a time, with limits for time and size, and without redirects: what is fetched decides who gets in.

mod discovery;
mod error;
mod fetch;
mod location;

use std::path::PathBuf;

pub use discovery::DiscoveryDocument;
pub use error::IssuerError;
pub use fetch::{FetchedKeys, fetch, read_keys};
pub use location::Location;

use crate::access::jwt::Issuer;

/// An issuer, and the source of its keys.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// The tokens that are accepted.
    pub issuer: Issuer,
    /// The source of the keys.
    pub keys: KeySource,
}

/// The source of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The issuer's discovery document names their address.
    Discovery(Location),
    /// A fixed address.
    Address(Location),
    /// A file with a JSON Web Key Set.
    File(PathBuf),
}
