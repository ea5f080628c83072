//! A request for one of the pages of personal tokens, with everything that answers it.

use crate::access::caller::Caller;
use crate::http::body::{BodyLimits, BodyOwner};
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::personal_store::PersonalStore;
use crate::serve::telemetry::access_log::AccessLog;

/// The actions of these pages in the logs.
pub(super) const LIST: &str = "personal-tokens:list";
pub(super) const MAKE: &str = "personal-tokens:create";
pub(super) const REVOKE: &str = "personal-tokens:revoke";

/// A request for one of the pages, and what it takes to serve it.
pub(crate) struct PersonalRequest<'a> {
    pub store: &'a PersonalStore,
    pub browser: BrowserRequest<'a>,
    pub log: &'a AccessLog,
    /// The caller, who has been authenticated.
    pub caller: &'a Caller,
    /// The names of all targets.
    pub targets: Vec<&'a str>,
    pub body_limits: &'a BodyLimits,
    /// The caller and the address that the memory of the form counts against.
    pub body_owner: BodyOwner,
}
