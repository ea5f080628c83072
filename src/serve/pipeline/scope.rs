//! The values that every stage may read.

use actix_web::HttpRequest;

use crate::http::headers::HeaderSummary;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::context::RequestContext;
use crate::serve::state::WorkerState;

/// One request as it came, the worker that serves it, and its context.
pub(super) struct RequestScope<'a> {
    pub worker: &'a WorkerState,
    pub request: &'a HttpRequest,
    /// The same request, with the facts about its connection that cookies and redirects depend on.
    pub browser: BrowserRequest<'a>,
    /// The facts about the request's header fields.
    pub header_summary: &'a HeaderSummary,
    pub context: &'a RequestContext,
}
