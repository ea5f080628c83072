//! People whom an issuer names: their sign-in with a browser, and their sessions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use crate::access::caller::{AuthMethod, Caller};
use crate::access::issuer_session::IssuerSession;
use crate::access::jwt::{JwtAlgorithm, JwtClaims, JwtError, JwtIssuer, UnverifiedJwt};
use crate::access::openid::Provider;
use crate::api::stored_secret::StoredSecret;
use crate::serve::auth::client_secret::ClientSecret;
use crate::serve::auth::issuers::Issuers;
use crate::serve::auth::issuers::issuer_state::IssuerState;
use crate::serve::auth::issuers::rejection::JwtRejectionReason;
use crate::serve::auth::issuers::sign_on::IssuerSignOn;
use crate::serve::auth::sign_on::error::SignOnError;

/// The longest wait for a discovery document.
const DISCOVERY_WAIT: Duration = Duration::from_secs(10);

impl IssuerState {
    /// Returns the sign-in of people at the issuer, if there is one.
    pub(crate) fn sign_on(&self) -> Option<&IssuerSignOn> {
        self.sign_on.as_ref()
    }

    /// Returns the secret of the client, if AWS stores it.
    pub(crate) fn stored_client_secret(&self) -> Option<(&ClientSecret, &StoredSecret)> {
        let secret = &self.sign_on.as_ref()?.secret;
        Some((secret, secret.place()?))
    }

    /// Returns the addresses of the issuer.
    ///
    /// # Errors
    /// [`SignOnError::NotDiscovered`] and [`SignOnError::Provider`].
    pub(crate) fn provider(&self) -> Result<Provider, SignOnError> {
        let document = self.keys.discovery().ok_or(SignOnError::NotDiscovered)?;
        Ok(Provider::parse(&self.issuer().url, |name| document.get(name))?)
    }

    /// Returns the addresses of the issuer, after a fetch of its discovery document if that has not succeeded yet.
    ///
    /// # Errors
    /// As those of [`Self::provider`].
    pub(crate) async fn discovered_provider(&self) -> Result<Provider, SignOnError> {
        if self.keys.discovery().is_none() {
            // A person waits for it, and should not have to wait for the next fetch of its own accord.
            let _ = timeout(DISCOVERY_WAIT, self.keys.next_fetch()).await;
        }
        self.provider()
    }

    /// Verifies an ID token. Returns its claims and its algorithm.
    ///
    /// # Errors
    /// [`JwtError`].
    pub(crate) async fn verify_id_token<'a>(
        &self,
        jwt: &'a UnverifiedJwt<'_>,
        now: SystemTime,
    ) -> Result<(&'a JwtClaims, JwtAlgorithm), JwtError> {
        let rules = self.sign_on.as_ref().map_or(self.issuer(), |sign_on| &sign_on.rules);
        let verified = self.verify(jwt, rules, now).await;
        self.counts.count(&verified.map_err(JwtRejectionReason::from));
        Ok((verified?.0, jwt.check(rules, &rules.audiences, now)?))
    }

    /// Returns true if `[[caller]]` or the name needs a claim that is not among these.
    pub(crate) fn lacks(&self, claims: &JwtClaims) -> bool {
        let mut patterns = self.grants.iter().flat_map(|grant| &grant.claims);
        claims.at(&self.issuer().name_claim).is_none() || patterns.any(|pattern| !pattern.is_answered(claims))
    }

    /// Begins the session of a person with these claims.
    ///
    /// # Errors
    /// [`SignOnError::NoGrant`] and [`SignOnError::NoName`].
    pub(crate) fn begin_session(
        &self,
        claims: &JwtClaims,
        end: SystemTime,
    ) -> Result<(Caller, IssuerSession), SignOnError> {
        let JwtIssuer { name, url, .. } = self.issuer();
        let grant = self.grants.iter().find(|grant| grant.is_for(claims));
        let grant = grant
            .ok_or_else(|| SignOnError::NoGrant { issuer: Arc::clone(name), person: self.own_name.fill(claims) })?;
        let caller = grant.caller(claims, &self.own_name, name, AuthMethod::Session).ok_or(SignOnError::NoName)?;
        let patterns = self.grants.iter().flat_map(|grant| &grant.claims);
        let matching = patterns.filter(|pattern| pattern.matches(claims)).map(ToString::to_string);
        let matching: Vec<String> = matching.collect();
        let session = IssuerSession::new((name, url), &caller.name, matching.iter().map(String::as_str), end);
        Ok((caller, session))
    }

    /// Returns the holder of a session, with the rights of the first grant that the session matches.
    fn holder(&self, session: &IssuerSession) -> Option<Caller> {
        let sign_on = self.sign_on.as_ref().filter(|sign_on| session.is_of(&sign_on.url))?;
        let grant = sign_on.facts.iter().position(|facts| facts.iter().all(|fact| session.has(fact)))?;
        let (name, grant) = (session.name.clone(), self.grants.get(grant)?);
        let issuer = Some(Arc::clone(&self.issuer().name));
        Some(Caller {
            name,
            role: grant.role,
            targets: grant.targets.clone(),
            auth_method: AuthMethod::Session,
            issuer,
            expires: None,
        })
    }
}

impl Issuers {
    /// Returns true if people can sign in at an issuer.
    pub(crate) fn sign_people_in(&self) -> bool {
        self.all().iter().any(|issuer| issuer.sign_on.is_some())
    }

    /// Returns the holder of a session; nothing if the issuer or the grant is no longer in the configuration.
    pub(crate) fn session_holder(&self, session: &IssuerSession) -> Option<Caller> {
        self.all().iter().find(|issuer| *issuer.issuer().name == session.issuer)?.holder(session)
    }
}
