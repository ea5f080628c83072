//! The configuration of authentication: which callers the appliance accepts, and what it grants them.

use std::path::PathBuf;
use std::time::Duration;

use crate::access::address::Networks;
use crate::access::balancer_jwt::ExpectedBalancerJwt;
use crate::access::caller::Role;
use crate::access::grant::Grant;
use crate::access::jwt::ClaimGrant;
use crate::access::limits::Limits;
use crate::access::openid::OpenIdClient;
use crate::access::policy::Policy;
use crate::access::session::Sessions;
use crate::access::tokens::Tokens;
use crate::api::stored_secret::StoredSecret;
use crate::http::client::Endpoint;
use crate::issuer::TrustedIssuer;
use crate::token_source::TokenSource;

/// The callers to accept, and their rights.
pub struct CallerSettings {
    /// The tokens; without this there are none.
    pub tokens: Option<TokenSettings>,
    /// The personal tokens; without this nobody can make any.
    pub personal: Option<PersonalSettings>,
    /// The grants of the load balancer's users, of the holders of certificates and of AWS identities.
    pub grants: Vec<Grant>,
    /// The load balancer whose statements about users are trusted.
    pub oidc: Option<OidcSettings>,
    /// The issuers whose JWTs are accepted as bearer tokens.
    pub issuers: Vec<IssuerSettings>,
    /// The AWS identities that are accepted; without this there are none.
    pub aws: Option<AwsIdentitySettings>,
    /// The role of unauthenticated callers; without it they are rejected.
    pub anonymous: Option<Role>,
    /// The sessions of browsers.
    pub sessions: SessionSettings,
    /// The operator's text on the sign-in page.
    pub sign_in_help: Option<String>,
    /// The networks that requests may come from; any, if this is not set.
    pub networks: Option<Networks>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Networks,
    /// The largest number of those that a request passes.
    pub trusted_hops: usize,
    /// The rules that deny actions in spite of a role.
    pub policy: Policy,
    /// The limits of each caller.
    pub limits: Limits,
}

/// The sessions of browsers, or the place of the key that signs them.
pub enum SessionSettings {
    /// The key is known from the start.
    Known(Box<Sessions>),
    /// AWS stores the key.
    Stored {
        /// Its place.
        key: StoredSecret,
        /// The lifetime of a session.
        lifetime: Duration,
    },
}

/// The tokens and their source.
pub struct TokenSettings {
    /// The source to reload them from.
    pub source: TokenSource,
    /// The tokens that were read at the start; none, if AWS keeps them.
    pub initial: Option<Tokens>,
}

/// The personal tokens: their source, which the appliance changes, and their limit.
pub struct PersonalSettings {
    /// The source.
    pub tokens: TokenSettings,
    /// The longest lifetime of a token.
    pub lifetime: Duration,
}

/// A trusted issuer, and what its tokens grant.
pub struct IssuerSettings {
    /// The issuer, and the source of its keys.
    pub trusted: TrustedIssuer,
    /// The grants; the first that matches a token decides.
    pub grants: Vec<ClaimGrant>,
    /// The client that the appliance is there, if people sign in there with their browser.
    pub sign_on: Option<SignOnSettings>,
}

/// The client that the appliance is at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOnSettings {
    /// The client, except for its secret.
    pub client: OpenIdClient,
    /// The source of its secret, if it has one.
    pub secret: Option<ClientSecretSource>,
}

/// The source of a client's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecretSource {
    /// A file; also a systemd credential.
    File(PathBuf),
    /// A secret in AWS's Parameter Store or Secrets Manager.
    Stored(StoredSecret),
}

/// The load balancer in front, which signs users in.
pub struct OidcSettings {
    /// The claims that its statements must have.
    pub expected: ExpectedBalancerJwt,
    /// The claim that names the user.
    pub name_claim: String,
    /// The endpoint of its public keys, and the path to them with a slash at its end.
    pub keys: (Endpoint, String),
}

/// The AWS identities that may be callers.
pub struct AwsIdentitySettings {
    /// The audience for which their tokens have to be made.
    pub audience: String,
    /// The regions whose STS may be asked, each with its endpoint.
    pub regions: Vec<(String, Endpoint)>,
}
