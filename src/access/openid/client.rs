//! The appliance as a client of a provider.

/// The client that the appliance is at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIdClient {
    /// `client_id`.
    pub id: String,
    /// `scope`, with `openid` among its words.
    pub scopes: String,
    /// The name of the provider for people.
    pub label: String,
    /// The address to which the provider returns a browser; by default it follows from the request.
    pub redirect_url: Option<String>,
}
