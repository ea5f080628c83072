//! The sign-in of people at one issuer: the client, the rules for ID tokens, and the patterns that sessions are compared with.

use crate::access::issuer_session;
use crate::access::jwt::{ClaimGrant, JwtIssuer};
use crate::access::openid::OpenIdClient;
use crate::serve::auth::client_secret::ClientSecret;
use crate::serve::auth::settings::SignOnSettings;

/// The sign-in of people at one issuer.
pub(crate) struct IssuerSignOn {
    /// The client that the appliance is there.
    pub(crate) client: OpenIdClient,
    /// The secret of the client.
    pub(crate) secret: ClientSecret,
    /// The rules for ID tokens.
    pub(super) rules: JwtIssuer,
    /// The hash of the issuer's URL.
    pub(super) url: String,
    /// The hashes of the patterns of each grant. They are here so that no request computes them.
    pub(super) facts: Vec<Vec<String>>,
}

impl IssuerSignOn {
    /// Returns the sign-in of a client.
    pub(super) fn new(settings: SignOnSettings, issuer: &JwtIssuer, grants: &[ClaimGrant]) -> Self {
        // An ID token is for the client that has requested it, whatever audience bearer tokens have to have.
        let SignOnSettings { client, secret } = settings;
        let rules =
            JwtIssuer { audiences: vec![client.id.clone()], audience_claim: "aud".to_owned(), ..issuer.clone() };
        let fact = |pattern: &dyn ToString| issuer_session::hashed(&pattern.to_string());
        let facts = grants.iter().map(|grant| grant.claims.iter().map(|pattern| fact(pattern)).collect()).collect();
        let secret = ClientSecret::new(secret);
        Self { client, secret, rules, url: issuer_session::hashed(&issuer.url), facts }
    }
}
