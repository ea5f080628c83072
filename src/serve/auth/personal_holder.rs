//! The person behind a personal token, and the rights that the person can have today.

use std::time::SystemTime;

use crate::access::caller::{Caller, OwnerSignIn, Role, Targets};
use crate::access::grant::{Grant, Subject};
use crate::access::personal;
use crate::access::tokens::{PersonalEntry, TokenRejection};
use crate::serve::auth::callers::Callers;
use crate::serve::auth::error::{AccessError, TokensUnknown};

impl Callers {
    /// Returns the person whose personal token this is, if it is not a token of an operator.
    ///
    /// # Errors
    /// The error with which the other tokens were searched, or [`AccessError::Token`].
    pub(super) async fn personal_holder(
        &self,
        token: &str,
        error: AccessError,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        let is_other = matches!(error, AccessError::NotAJwt | AccessError::Token(TokenRejection::Unknown));
        let Some(personal) = self.personal.as_ref().filter(|_| is_other) else { return Err(error) };
        let look = || {
            personal.find(token, now, |entry, facts| {
                let (role, targets) = self.rights(facts, &entry.name, now)?;
                Ok(personal::caller(entry, facts, (role, &targets)))
            })
        };
        match look() {
            // Another appliance may have made it a moment ago.
            Some(Err(TokenRejection::Unknown)) if personal.reloaded().await => {}
            Some(found) => return Ok(found?),
            None => return Err(TokensUnknown(None).into()),
        }
        Ok(look().unwrap_or(Err(TokenRejection::Unknown))?)
    }

    /// Returns the rights that the owner of a personal token can have today, as far as the configuration and the tokens say.
    /// The claims of a user are known only while the user signs in, so all grants by claims count.
    fn rights(&self, facts: &PersonalEntry, name: &str, now: SystemTime) -> Result<(Role, Targets), TokenRejection> {
        let granted = |is_meant: &dyn Fn(&Grant) -> bool| {
            let grants = self.grants.iter().filter(|grant| is_meant(grant));
            grants.map(|grant| (grant.role, &grant.targets)).fold(None, personal::either)
        };
        let rights = match facts.owner {
            OwnerSignIn::Token => return self.tokens.rights(name, now),
            OwnerSignIn::Issuer => self.issuers.rights(facts.issuer.as_deref().unwrap_or_default()),
            OwnerSignIn::Certificate => granted(
                &|grant| matches!(&grant.to, Subject::Certificate(own) if grant.name.as_ref().unwrap_or(own) == name),
            ),
            OwnerSignIn::Oidc => granted(&|grant| {
                let is_by_claim = matches!(grant.to, Subject::Claim { .. } | Subject::AnyUser);
                is_by_claim && grant.name.as_ref().is_none_or(|given| given == name)
            }),
        };
        rights.ok_or(TokenRejection::Owner)
    }
}
