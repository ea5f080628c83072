//! The users of a load balancer, which states in a header who has signed in there.

use std::time::SystemTime;

use crate::access::balancer_jwt::{BalancerJwtError, ExpectedBalancerJwt, UnverifiedBalancerJwt};
use crate::access::caller::{AuthMethod, Caller};
use crate::access::caller_name::check_name;
use crate::access::grant::Grant;
use crate::serve::auth::balancer_keys::BalancerKeys;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::service_clients::ServiceClients;
use crate::serve::auth::settings::OidcSettings;

/// The load balancer whose statements about users are trusted.
pub(super) struct BalancerTrust {
    expected: ExpectedBalancerJwt,
    name_claim: String,
    keys: BalancerKeys,
}

impl BalancerTrust {
    /// Trusts the load balancer of these settings.
    pub(super) fn new(settings: OidcSettings) -> Self {
        let OidcSettings { expected, name_claim, keys: (endpoint, path) } = settings;
        Self { expected, name_claim, keys: BalancerKeys::new(endpoint, path) }
    }

    /// Returns the user whom a statement names, with the first of these grants that is for that user.
    ///
    /// # Errors
    /// [`AccessError`].
    pub(super) async fn user(
        &self,
        statement: &str,
        grants: &[Grant],
        clients: &ServiceClients,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        let unverified = UnverifiedBalancerJwt::parse(statement)?;
        // This check comes before a key is fetched, because an unverified statement is not worth a request.
        unverified.check(&self.expected, now)?;
        let key = self.keys.get(unverified.key_id(), clients).await.ok_or(BalancerJwtError::NoKey)?;
        let claims = unverified.verify(&key, &self.expected, now)?;
        let name = claims.text(&self.name_claim).filter(|name| check_name(name).is_ok());
        let grant = Grant::first(grants, |subject| claims.fit(subject)).ok_or(AccessError::NoGrant)?;
        let name = grant.name.as_deref().or(name).ok_or(AccessError::NoName)?;
        Ok(grant.caller(name, AuthMethod::Oidc))
    }
}
