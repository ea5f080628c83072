//! The reports of a request whose response has ended: an event in the access log, one in the audit log, a span, counts,
//! and an entry among the recent failures.

use tracing::{debug, info, warn};

use crate::serve::telemetry::audit::AuditLog;
use crate::serve::telemetry::finished::{FinishedRequest, Severity, milliseconds};
use crate::serve::telemetry::metrics::WorkerCounters;
use crate::serve::telemetry::spans::Trace;

/// Writes the reports of a request. The probe of a load balancer gets only a line in the log, at the level debug.
pub(crate) fn report(
    request: &FinishedRequest<'_>,
    trace: Option<&Trace>,
    counters: &WorkerCounters,
    audit: &AuditLog,
) {
    write(request, trace);
    if request.severity == Severity::Probe {
        return;
    }
    audit.record(request);
    if let Some(trace) = trace {
        trace.end(request);
    }
    counters.count(request);
}

/// Writes the event for the log that people read.
fn write(request: &FinishedRequest<'_>, trace: Option<&Trace>) {
    macro_rules! write {
        ($level:ident) => {
            $level!(
                target: "access",
                request_id = request.request_id,
                trace_id = trace.map(Trace::id),
                client = request.client.map(tracing::field::display),
                caller = request.caller.map(|caller| caller.name.as_str()),
                means = request.caller.map(|caller| caller.auth_method.as_str()),
                role = request.caller.map(|caller| caller.role.as_str()),
                issuer = request.issuer,
                method = %request.method,
                path = request.path,
                mlflow = request.target_name,
                action = request.action,
                token = request.token,
                status = request.status.map(|status| status.as_u16()),
                received = request.received,
                sent = request.sent,
                total_ms = milliseconds(request.total),
                upstream_ms = request.upstream.map(milliseconds),
                upstream_request_id = request.upstream_request_id,
                error_code = request.error_code,
                cause = request.cause,
                outcome = request.outcome.as_str(),
                "request",
            )
        };
    }
    match request.severity {
        Severity::Probe => write!(debug),
        Severity::Usual => write!(info),
        Severity::Alarming => write!(warn),
    }
}
