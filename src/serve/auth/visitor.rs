//! The visitor of the sign-in page: a person with a session, a person whose session has ended, or an unauthenticated one.

use std::time::SystemTime;

use crate::access::caller::Caller;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::error::AccessError;

/// The visitor of the sign-in page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// The browser has no session.
    Unauthenticated,
    /// The browser has just ended its session.
    SignedOut,
    /// The browser has sent a session that is no longer valid.
    Expired,
    /// The browser has a session, which ends at this time, or with its token.
    SignedIn { caller: Caller, end: SystemTime },
}

impl Visitor {
    /// Finds out whose browser has sent a request.
    ///
    /// # Errors
    /// [`AccessError::SessionKeyUnknown`] and [`AccessError::TokensUnknown`].
    pub(crate) fn of(browser: BrowserRequest<'_>, callers: &Callers, now: SystemTime) -> Result<Self, AccessError> {
        let Some(value) = browser.session() else { return Ok(Self::Unauthenticated) };
        let session = callers.session(value, now)?;
        Ok(session.map_or(Self::Expired, |(caller, end)| Self::SignedIn { caller, end }))
    }
}
