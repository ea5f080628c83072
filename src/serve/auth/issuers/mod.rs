//! The trusted issuers: finds the caller to whom an issuer's JWT belongs.

mod counts;
mod issuer_state;
mod people;
mod published_keys;
mod rejection;
pub(super) mod sign_on;
mod verified_tokens;

use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use counts::VerificationCounts;
pub(crate) use issuer_state::IssuerState;
pub(crate) use rejection::{JwtRejection, JwtRejectionReason};

use crate::access::caller::{AuthMethod, Caller, Role, Targets};
use crate::access::jwt::{JwtError, UnverifiedJwt};
use crate::access::personal;
use crate::serve::auth::settings::IssuerSettings;
use verified_tokens::VerifiedTokens;

/// The trusted issuers, which all workers share.
pub(crate) struct Issuers {
    states: Vec<Arc<IssuerState>>,
    verified: VerifiedTokens,
    /// The results for tokens of which no issuer is known.
    unknown: VerificationCounts,
}

impl Issuers {
    /// Returns the issuers of these settings. Another task fetches their keys.
    pub(crate) fn new(settings: Vec<IssuerSettings>) -> Self {
        let states = settings.into_iter().map(|settings| Arc::new(IssuerState::new(settings))).collect();
        Self { states, verified: VerifiedTokens::default(), unknown: VerificationCounts::default() }
    }

    /// Returns true if there is an issuer.
    pub(crate) fn are_configured(&self) -> bool {
        !self.states.is_empty()
    }

    /// Returns all issuers, in their order in the configuration.
    pub(crate) fn all(&self) -> &[Arc<IssuerState>] {
        &self.states
    }

    /// Returns the rights that some person of this issuer can have.
    pub(crate) fn rights(&self, issuer: &str) -> Option<(Role, Targets)> {
        let state = self.states.iter().find(|state| &*state.issuer().name == issuer)?;
        state.grants.iter().map(|grant| (grant.role, &grant.targets)).fold(None, personal::either)
    }

    /// Returns the results for tokens of which no issuer is known.
    pub(crate) fn of_unknown(&self) -> &VerificationCounts {
        &self.unknown
    }

    /// Returns the number of tokens whose verification is remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.verified.len()
    }

    /// Returns the caller of a token that was verified before, and that is still valid.
    pub(crate) fn known(&self, token: &str, now: SystemTime) -> Option<Caller> {
        let id = verified_tokens::id(token);
        let is_valid = |issuer: usize, generation: u64| self.states[issuer].keys.generation() == generation;
        let (issuer, caller) = self.verified.find(&id, now, is_valid)?;
        self.states[issuer].counts.count_cached();
        Some(caller)
    }

    /// Verifies a token, and returns its caller.
    ///
    /// # Errors
    /// [`JwtRejection`].
    pub(crate) async fn authenticate(&self, token: &str, now: SystemTime) -> Result<Caller, JwtRejection> {
        let rejected = |why: JwtError, named: Option<&str>| {
            self.unknown.count::<()>(&Err(why.into()));
            JwtRejection::of_unknown(why, named)
        };
        let jwt = UnverifiedJwt::parse(token).map_err(|why| rejected(why, None))?;
        let url = jwt.issuer_url();
        let found = self.states.iter().position(|state| Some(state.issuer().url.as_str()) == url);
        let issuer = found.ok_or_else(|| rejected(JwtError::UnknownIssuer, url))?;
        let state = &self.states[issuer];
        let result = self.verified_caller(issuer, token, &jwt, now).await;
        state.counts.count(&result);
        result.map_err(|why| JwtRejection::by(&state.issuer().name, why))
    }

    async fn verified_caller(
        &self,
        issuer: usize,
        token: &str,
        jwt: &UnverifiedJwt<'_>,
        now: SystemTime,
    ) -> Result<Caller, JwtRejectionReason> {
        let state = &self.states[issuer];
        // SECURITY: this comes first, so that keys which are replaced meanwhile end what is remembered.
        let (claims, generation) = state.verify(jwt, state.issuer(), now).await?;
        let end = state.issuer().end(claims).map_err(JwtRejectionReason::Token)?;
        let caller = Caller { expires: Some(end), ..state.grant(claims, AuthMethod::Jwt)? };
        self.verified.remember(verified_tokens::id(token), issuer, generation, end, &caller, now);
        Ok(caller)
    }
}
