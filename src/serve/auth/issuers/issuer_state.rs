//! One trusted issuer at run time: its keys, its grants and its figures.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use crate::access::caller::{AuthMethod, Caller};
use crate::access::jwt::{ClaimGrant, JwtClaims, JwtError, JwtIssuer, NameTemplate, UnverifiedJwt};
use crate::issuer::TrustedIssuer;
use crate::serve::auth::issuers::counts::VerificationCounts;
use crate::serve::auth::issuers::published_keys::PublishedKeys;
use crate::serve::auth::issuers::rejection::JwtRejectionReason;
use crate::serve::auth::issuers::sign_on::IssuerSignOn;
use crate::serve::auth::settings::IssuerSettings;

/// The longest time that a request waits for keys, the interval between fetches included.
const KEY_WAIT: Duration = Duration::from_secs(15);

/// One trusted issuer.
pub(crate) struct IssuerState {
    pub(crate) trusted: TrustedIssuer,
    pub(super) grants: Vec<ClaimGrant>,
    /// The name of callers whose grant has none.
    pub(super) own_name: NameTemplate,
    pub(super) sign_on: Option<IssuerSignOn>,
    pub(crate) keys: PublishedKeys,
    pub(crate) counts: VerificationCounts,
}

impl IssuerState {
    /// Returns an issuer without keys.
    pub(crate) fn new(settings: IssuerSettings) -> Self {
        let IssuerSettings { trusted, grants, sign_on } = settings;
        let own_name = NameTemplate::of(&trusted.issuer.name_claim);
        let sign_on = sign_on.map(|client| IssuerSignOn::new(client, &trusted.issuer, &grants));
        let (keys, counts) = (PublishedKeys::default(), VerificationCounts::default());
        Self { trusted, grants, own_name, sign_on, keys, counts }
    }

    /// Returns the rules for its tokens.
    pub(crate) fn issuer(&self) -> &JwtIssuer {
        &self.trusted.issuer
    }

    /// Verifies a token by these rules of the issuer. Returns its claims, and the generation of the keys.
    ///
    /// # Errors
    /// [`JwtError`].
    pub(crate) async fn verify<'a>(
        &self,
        jwt: &'a UnverifiedJwt<'_>,
        rules: &JwtIssuer,
        now: SystemTime,
    ) -> Result<(&'a JwtClaims, u64), JwtError> {
        // SECURITY: this check comes before a key is fetched, because an unverified token is not worth a request.
        jwt.check(rules, &rules.audiences, now)?;
        match self.try_verify(jwt, rules, now) {
            Err(JwtError::UnknownKey | JwtError::NoKeys) => {}
            result => return result,
        }
        timeout(KEY_WAIT, self.verify_with_newer_keys(jwt, rules, now)).await.unwrap_or(Err(JwtError::NoKeys))
    }

    /// Waits for newer keys, and verifies the token with them.
    async fn verify_with_newer_keys<'a>(
        &self,
        jwt: &'a UnverifiedJwt<'_>,
        rules: &JwtIssuer,
        now: SystemTime,
    ) -> Result<(&'a JwtClaims, u64), JwtError> {
        loop {
            let fetch = self.keys.next_fetch().await;
            let result = self.try_verify(jwt, rules, now);
            match (&result, fetch) {
                // The fetch may have begun before the issuer published the key.
                (Err(JwtError::UnknownKey | JwtError::NoKeys), Some(fetch)) if !fetch.began_later => {}
                // The issuer may have the key by now, and could not be asked.
                (Err(JwtError::UnknownKey), Some(fetch)) if !fetch.succeeded => return Err(JwtError::NoKeys),
                _ => return result,
            }
        }
    }

    fn try_verify<'a>(
        &self,
        jwt: &'a UnverifiedJwt<'_>,
        rules: &JwtIssuer,
        now: SystemTime,
    ) -> Result<(&'a JwtClaims, u64), JwtError> {
        let generation = self.keys.generation();
        let keys = self.keys.current().ok_or(JwtError::NoKeys)?;
        Ok((jwt.verify(rules, &rules.audiences, &keys, now)?, generation))
    }

    /// Returns the caller to whom the first matching grant is.
    ///
    /// # Errors
    /// [`JwtRejectionReason::NoGrant`] and [`JwtRejectionReason::NoName`].
    pub(crate) fn grant(&self, claims: &JwtClaims, auth_method: AuthMethod) -> Result<Caller, JwtRejectionReason> {
        let grant = self.grants.iter().find(|grant| grant.is_for(claims)).ok_or(JwtRejectionReason::NoGrant)?;
        grant.caller(claims, &self.own_name, &self.issuer().name, auth_method).ok_or(JwtRejectionReason::NoName)
    }
}
