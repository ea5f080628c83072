//! The settings of a trusted issuer: its rules, and the source of its keys.

use std::path::PathBuf;

use super::location::Location;
use crate::access::jwt::JwtIssuer;

/// An issuer, and the source of its keys.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// The tokens that are accepted.
    pub issuer: JwtIssuer,
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
