//! The reports of a request whose response has ended: an event in the access log, one in the audit log, a span, counts,
//! and an entry among the recent failures.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::clock;
use crate::serve::telemetry::audit::{AuditEvent, AuditLog};
use crate::serve::telemetry::finished::{FinishedRequest, RequestOutcome, Severity};
use crate::serve::telemetry::metrics::{
    CallerRequest, FailedRequest, Observation, RouteClass, TimeShares, WorkerCounters, micros,
};
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
    if audit.is_on() {
        audit.record(&audited(request));
    }
    if let Some(trace) = trace {
        trace.end(request);
    }
    counters.count(&counted(request));
    counters.count_caller(request.caller, request.ended, of_caller(request));
    if let Some(kind) = request.failure_code() {
        counters.remember(failure(request, kind));
    }
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
                means = request.caller.map(|caller| caller.means.as_str()),
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
                refusal = request.error_kind,
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

fn audited<'a>(request: &FinishedRequest<'a>) -> AuditEvent<'a> {
    AuditEvent {
        time: humantime::format_rfc3339_micros(clock::now()).to_string(),
        request_id: request.request_id,
        client: request.client.map(|address| address.to_string()),
        caller: request.caller.map(|caller| caller.name.as_str()),
        role: request.caller.map(|caller| caller.role.as_str()),
        means: request.caller.map(|caller| caller.means.as_str()),
        issuer: request.issuer,
        target: request.target_name,
        method: request.method.as_str(),
        path: request.path,
        action: request.action,
        token: request.token,
        decision: if request.is_denied { Some("denied") } else { request.action.map(|_| "allowed") },
        refusal: request.error_kind,
        reason: if request.is_denied { request.cause } else { None },
        status: request.status.map(|status| status.as_u16()),
        received: request.received,
        sent: request.sent,
        total_ms: milliseconds(request.total),
        outcome: request.outcome.as_str(),
    }
}

fn counted(request: &FinishedRequest<'_>) -> Observation {
    Observation {
        target: request.target,
        role: request.caller.map(|caller| caller.role),
        route: RouteClass::of(request.action),
        status: request.status.map(|status| status.as_u16()),
        outcome: request.outcome as usize,
        refusal: request.error_kind,
        retries: request.retries,
        received: request.received,
        sent: request.sent,
        total: request.total,
        upstream: request.upstream,
        overhead: request.overhead,
        time: request.overhead.map(|overhead| TimeShares {
            appliance: micros(overhead),
            mlflow: micros(request.calls.mlflow),
            s3: micros(request.calls.s3),
            // The counters contain the total, and so this as the rest of it.
            bodies: 0,
        }),
        is_rejected: request.is_rejected(),
        presigned: request.presigned,
    }
}

fn of_caller(request: &FinishedRequest<'_>) -> CallerRequest {
    let is_success = request.status.is_some_and(|status| status.is_success());
    let (is_upload, is_download) = match request.action {
        Some("artifacts:upload") => (true, false),
        Some("artifacts:get" | "logged-models:get-artifact") => (false, true),
        _ => (false, false),
    };
    // A response with a presigned URL contains no byte of the artifact.
    let has_bytes = is_success && request.presigned == [0, 0];
    CallerRequest {
        is_rejected: request.is_rejected(),
        is_failed: request.has_failed() || request.outcome == RequestOutcome::Truncated,
        uploaded: if is_upload && has_bytes { request.received } else { 0 },
        downloaded: if is_download && has_bytes { request.sent } else { 0 },
        presigned: request.presigned,
    }
}

fn failure(request: &FinishedRequest<'_>, kind: &'static str) -> FailedRequest {
    FailedRequest {
        time: clock::now(),
        request_id: request.request_id.to_owned(),
        method: request.method.to_string(),
        path: request.path.to_owned(),
        action: request.action,
        caller: request.caller.map(|caller| caller.name.clone()),
        role: request.caller.map(|caller| caller.role.as_str()),
        client: request.client,
        target: request.target,
        status: request.status.map(|status| status.as_u16()),
        kind,
        cause: request.cause.map(ToOwned::to_owned),
        is_ours: request.concerns_operator(),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    micros(duration) as f64 / 1000.0
}
