//! The context of one request: the log that observes it, and the permits that it holds.
//!
//! Every stage shares it, and notes in it what must be known when the response has ended. What only the next stage needs
//! is in the type that a stage returns.

use crate::serve::limits::permits::Permits;
use crate::serve::server::connection::RunningRequest;
use crate::serve::telemetry::access_log::AccessLog;

/// The context of one request. It lives until the response has ended; then the log is written, and the permits released.
pub(crate) struct RequestContext {
    /// Observes the request.
    pub log: AccessLog,
    /// The limits that the request counts against.
    pub permits: Permits,
    /// Marks the connection as in use.
    _connection: Option<RunningRequest>,
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        // SECURITY: a client without a token must not decide what the collector gets, however many requests it sends.
        if self.log.caller().is_none() && self.log.trace.as_ref().is_some_and(|trace| trace.is_forced()) {
            self.log.trace = None;
        }
    }
}

impl RequestContext {
    /// Begins with a request that runs on this connection.
    pub(crate) fn new(log: AccessLog, connection: Option<RunningRequest>) -> Self {
        Self { log, permits: Permits::default(), _connection: connection }
    }
}
