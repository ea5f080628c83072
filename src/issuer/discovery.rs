//! The document in which an issuer describes itself (OpenID Connect Discovery 1.0).

use serde_json::{Map, Value};

use super::error::IssuerError;
use super::location::Location;

/// A discovery document whose issuer is the expected one.
#[derive(Clone, Debug)]
pub struct DiscoveryDocument(Map<String, Value>);

impl DiscoveryDocument {
    /// Parses a document.
    ///
    /// # Errors
    /// [`IssuerError::NotDiscovery`], and [`IssuerError::OtherIssuer`] if it describes another issuer than this one.
    pub fn parse(text: &[u8], issuer: &str) -> Result<Self, IssuerError> {
        let document: Map<String, Value> = serde_json::from_slice(text).map_err(|_| IssuerError::NotDiscovery)?;
        // SECURITY: otherwise one tenant of a provider could vouch for the users of another.
        match document.get("issuer").and_then(Value::as_str) {
            Some(named) if named == issuer => Ok(Self(document)),
            Some(named) => {
                Err(IssuerError::OtherIssuer(named.chars().take(200).flat_map(char::escape_debug).collect()))
            }
            None => Err(IssuerError::NotDiscovery),
        }
    }

    /// Returns the location under a key, such as `jwks_uri` or `token_endpoint`.
    ///
    /// # Errors
    /// [`IssuerError::Location`].
    pub fn location(&self, name: &'static str) -> Result<Location, IssuerError> {
        let text = self.0.get(name).and_then(Value::as_str);
        let parsed = text.ok_or("there is none").and_then(Location::parse);
        parsed.map_err(|why| IssuerError::Location { name, why })
    }

    /// Returns the value of another key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}
