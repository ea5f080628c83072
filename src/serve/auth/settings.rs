//! The configuration of authentication: which callers the appliance accepts, and what it grants them.

use std::path::PathBuf;

use crate::access::address::Networks;
use crate::access::caller::{Grant, Role};
use crate::access::limits::Limits;
use crate::access::oidc::Expected;
use crate::access::policy::Policy;
use crate::access::session::Sessions;
use crate::access::tokens::Tokens;
use crate::aws::secret::Secret;
use crate::http::client::Endpoint;

/// The callers to accept, and their rights.
pub struct CallerSettings {
    /// The tokens; without this there are none.
    pub tokens: Option<TokenSettings>,
    /// The grants of the load balancer's users, of the holders of certificates and of AWS identities.
    pub grants: Vec<Grant>,
    /// The load balancer whose statements about users are trusted.
    pub oidc: Option<OidcSettings>,
    /// The AWS identities that are accepted; without this there are none.
    pub aws: Option<AwsIdentitySettings>,
    /// The role of unauthenticated callers; without it they are rejected.
    pub anonymous: Option<Role>,
    /// The sessions of browsers.
    pub sessions: Sessions,
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

/// The tokens and their source.
pub struct TokenSettings {
    /// The source to reload them from.
    pub source: TokenSource,
    /// The tokens that were read at the start; none, if AWS keeps them.
    pub initial: Option<Tokens>,
}

/// The place where the token file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file on disk; also a systemd credential.
    File(PathBuf),
    /// A secret in AWS's Parameter Store or Secrets Manager.
    Secret(TokenSecret),
}

/// A secret that AWS keeps, and the service to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSecret {
    /// The secret.
    pub secret: Secret,
    /// The region of the service.
    pub region: String,
    /// The endpoint of the service.
    pub endpoint: Endpoint,
}

/// The load balancer in front, which signs users in.
pub struct OidcSettings {
    /// The claims that its statements must have.
    pub expected: Expected,
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
