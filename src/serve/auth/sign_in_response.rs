//! The responses of the pages for signing in and out, and the reasons why there is none.

use actix_web::HttpResponse;

use crate::access::caller::Caller;
use crate::http::body::RequestBodyError;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::sign_on::error::SignOnError;

/// The response to a request for one of the pages, and its result.
pub(crate) struct SignInResponse {
    pub response: HttpResponse,
    pub result: SignInResult,
}

/// The result of a request for one of the pages.
pub(crate) enum SignInResult {
    /// The page was shown, or a session has ended.
    Shown,
    /// The caller has signed in. The request still has to be counted against the caller's limits.
    SignedIn(Caller),
    /// The token was rejected.
    Rejected(AccessError),
}

/// A request for one of the pages has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Form(#[from] RequestBodyError),
    #[error("the memory for request bodies is used up")]
    Memory,
    #[error("the method is not allowed")]
    Method,
    #[error("there is no such page")]
    NoSuchPage,
}

impl From<SignOnError> for SignInError {
    fn from(error: SignOnError) -> Self {
        Self::Access(error.into())
    }
}
