//! One event per request in the log, and one in the audit log, written when its last byte has gone or its caller has.
//!
//! Fields and no more: no query, no header, no body, so that nothing a caller or AWS considers secret can end here.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use tracing::{debug, info, warn};

use crate::access::caller::Caller;
use crate::access::limits::Permit;
use crate::aws::sigv4::hex;
use crate::clock;
use crate::http::body::{Account, Holdings};
use crate::serve::auth::browser;
use crate::serve::limits::in_flight::Slot;
use crate::serve::limits::shares::{Party, Share};
use crate::serve::server::connection::{self, RunningRequest};
use crate::serve::telemetry::audit::{AuditEvent, AuditLog};
use crate::serve::telemetry::metrics::{
    CUT_OFF, FailedRequest, Observation, RouteClass, UPSTREAM_DENIED, UPSTREAM_ERROR, WorkerCounters,
};
use crate::serve::telemetry::spans::{EndedRequest, Exporter, Trace};

/// What all requests of the process share.
pub(crate) struct Ledger {
    in_flight: AtomicUsize,
    next: AtomicU64,
    /// Tells this process's request ids from those of another run or another instance.
    run: u64,
    /// Where requests are recorded for whoever has to answer for them.
    pub(crate) audit: AuditLog,
    /// Where their spans go, if somebody wants them.
    pub(crate) spans: Option<Arc<Exporter>>,
}

impl Ledger {
    /// A ledger whose request ids start with `run`, a random number.
    #[must_use]
    pub(crate) fn new(run: u64, audit: AuditLog, spans: Option<Arc<Exporter>>) -> Self {
        Self { in_flight: AtomicUsize::new(0), next: AtomicU64::new(0), run, audit, spans }
    }

    /// Requests whose response is not complete.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response went out whole.
    Complete,
    /// The caller left before that.
    CallerGone,
    /// The upstream broke off in the middle of the response.
    Truncated,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CallerGone => "caller-gone",
            Self::Truncated => "truncated",
        }
    }
}

/// Who should care about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Nobody: a probe of a load balancer, several a minute for ever.
    Probe,
    /// Whoever reads the log.
    Usual,
    /// The operator: something has to be done.
    Alarming,
}

/// The account of one request; logs itself when dropped.
pub(crate) struct RequestContext {
    ledger: Arc<Ledger>,
    /// The worker's counters.
    counters: Arc<WorkerCounters>,
    /// Given to the caller and written to the log.
    pub request_id: String,
    /// The trace that it is part of, if that is recorded here.
    pub trace: Option<Rc<Trace>>,
    /// What was asked.
    pub(crate) method: Method,
    /// Of what, without the query.
    pub(crate) path: String,
    /// The target's name, if it has one.
    pub target: Option<String>,
    /// The target's index among the backends.
    pub backend: Option<usize>,
    /// Where it comes from: the peer, or whom trusted proxies name.
    pub client: Option<IpAddr>,
    /// Who sent it, once that is known.
    pub caller: Option<Caller>,
    /// What it does, as in the table of routes.
    pub action: Option<&'static str>,
    /// Counts against what the target takes at once.
    pub slot: Option<Slot>,
    /// The caller's connection to the target, or its turn to have one.
    pub share: Option<Share>,
    /// The same to S3.
    pub store_share: Option<Share>,
    /// Counts against the caller's limits for as long as this lives. It tells whose the shares are, so it is dropped after them.
    pub permit: Option<Permit<Arc<Holdings>>>,
    _running: Option<RunningRequest>,
    /// Whether the caller may do that.
    pub is_denied: bool,
    started: Instant,
    /// Set once it is known.
    pub status: Option<StatusCode>,
    /// Time from the first byte sent upstream to the head of its response.
    pub upstream: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// Time that the caller's body took to arrive.
    pub intake: Duration,
    /// Time until the head of the answer was there.
    answered: Option<Duration>,
    /// AWS's own id for the request, to quote in a support case.
    pub upstream_request_id: Option<String>,
    /// [`crate::serve::error::ProxyError::kind`], where the answer is the appliance's own.
    pub refusal: Option<&'static str>,
    /// What happened, in full, where there is more to say than the fields do.
    pub cause: Option<String>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the response's body.
    pub sent: u64,
    /// How it ended, as far as is known yet.
    pub outcome: Outcome,
    /// Who should care.
    pub severity: Severity,
}

impl RequestContext {
    /// Opens the account of a request.
    #[must_use]
    pub(crate) fn begin(
        ledger: &Arc<Ledger>,
        counters: &Arc<WorkerCounters>,
        request: &HttpRequest,
        running: Option<RunningRequest>,
    ) -> Self {
        ledger.in_flight.fetch_add(1, Ordering::Relaxed);
        let number = ledger.next.fetch_add(1, Ordering::Relaxed);
        Self {
            ledger: Arc::clone(ledger),
            counters: Arc::clone(counters),
            request_id: hex(&((u128::from(ledger.run) << 32) + u128::from(number)).to_be_bytes()[4..]),
            trace: ledger
                .spans
                .as_ref()
                .and_then(|spans| Trace::begin(spans, request, browser::host(request), connection::is_secure(request))),
            method: request.method().clone(),
            path: request.path().to_owned(),
            target: None,
            backend: None,
            client: request.peer_addr().map(|address| address.ip()),
            caller: None,
            action: None,
            permit: None,
            slot: None,
            share: None,
            store_share: None,
            _running: running,
            is_denied: false,
            started: Instant::now(),
            status: None,
            upstream: None,
            retries: 0,
            intake: Duration::ZERO,
            answered: None,
            upstream_request_id: None,
            refusal: None,
            cause: None,
            received: 0,
            sent: 0,
            outcome: Outcome::CallerGone,
            severity: Severity::Usual,
        }
    }

    /// The parties that answer for the memory and disk that the request's body holds.
    #[must_use]
    pub(crate) fn account(&self) -> Account {
        let Some(permit) = &self.permit else { return Account::default() };
        Account::new(permit.caller().cloned(), permit.address().cloned())
    }

    /// Returns the party whose share of connections it counts against.
    #[must_use]
    pub(crate) fn party(&self) -> Party {
        Party::of(self.permit.as_ref().and_then(Permit::caller))
    }

    /// Notes that the head of the answer is there.
    pub(crate) fn answer_with(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.answered = Some(self.started.elapsed());
    }

    /// Counts it.
    fn count(&self, total: Duration) {
        let own = |upstream| Some(self.answered?.saturating_sub(upstream).saturating_sub(self.intake));
        self.counters.count(&Observation {
            target: self.backend,
            role: self.caller.as_ref().map(|caller| caller.role),
            route: RouteClass::of(self.action),
            status: self.status.map(|status| status.as_u16()),
            outcome: self.outcome as usize,
            refusal: self.refusal,
            retries: self.retries,
            received: self.received,
            sent: self.sent,
            total,
            upstream: self.upstream,
            overhead: self.upstream.and_then(own),
        });
    }

    /// Keeps it for people to look at, if it has failed. What it holds is given away: it is the last thing done.
    fn remember(&mut self) {
        let has_failed = self.status.is_some_and(|status| status.is_server_error());
        let is_ours = has_failed || self.severity == Severity::Alarming || self.outcome == Outcome::Truncated;
        let kind = match (self.refusal, self.status) {
            (Some(kind), _) => kind,
            _ if self.outcome == Outcome::Truncated => CUT_OFF,
            _ if has_failed => UPSTREAM_ERROR,
            (None, Some(StatusCode::FORBIDDEN)) if is_ours => UPSTREAM_DENIED,
            _ => return,
        };
        self.counters.remember(FailedRequest {
            time: clock::now(),
            request_id: std::mem::take(&mut self.request_id),
            method: self.method.to_string(),
            path: std::mem::take(&mut self.path),
            target: self.backend,
            status: self.status.map(|status| status.as_u16()),
            kind,
            cause: self.cause.take(),
            is_ours,
        });
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        self.ledger.in_flight.fetch_sub(1, Ordering::Relaxed);
        let total = self.started.elapsed();
        let role = self.caller.as_ref().map(|caller| caller.role.as_str());
        let milliseconds = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0;
        macro_rules! write {
            ($level:ident) => {
                $level!(
                    target: "access",
                    request_id = self.request_id,
                    trace_id = self.trace.as_ref().map(|trace| trace.id()),
                    client = self.client.map(tracing::field::display),
                    caller = self.caller.as_ref().map(|caller| caller.name.as_str()),
                    means = self.caller.as_ref().map(|caller| caller.means.as_str()),
                    role,
                    method = %self.method,
                    path = self.path,
                    mlflow = self.target,
                    action = self.action,
                    status = self.status.map(|status| status.as_u16()),
                    received = self.received,
                    sent = self.sent,
                    total_ms = milliseconds(total),
                    upstream_ms = self.upstream.map(milliseconds),
                    upstream_request_id = self.upstream_request_id,
                    refusal = self.refusal,
                    cause = self.cause,
                    outcome = self.outcome.as_str(),
                    "request",
                )
            };
        }
        match self.severity {
            Severity::Probe => write!(debug),
            Severity::Usual => write!(info),
            Severity::Alarming => write!(warn),
        }
        if self.ledger.audit.is_on() && self.severity != Severity::Probe {
            self.ledger.audit.record(&AuditEvent {
                time: humantime::format_rfc3339_micros(clock::now()).to_string(),
                request_id: &self.request_id,
                client: self.client.map(|address| address.to_string()),
                caller: self.caller.as_ref().map(|caller| caller.name.as_str()),
                role,
                means: self.caller.as_ref().map(|caller| caller.means.as_str()),
                target: self.target.as_deref(),
                method: self.method.as_str(),
                path: &self.path,
                action: self.action,
                decision: if self.is_denied { Some("denied") } else { self.action.map(|_| "allowed") },
                refusal: self.refusal,
                status: self.status.map(|status| status.as_u16()),
                received: self.received,
                sent: self.sent,
                total_ms: milliseconds(total),
                outcome: self.outcome.as_str(),
            });
        }
        if self.severity != Severity::Probe {
            if let Some(trace) = self.trace.take() {
                trace.end(&EndedRequest {
                    method: self.method.as_str(),
                    path: &self.path,
                    client: self.client,
                    status: self.status.map(|status| status.as_u16()),
                    received: self.received,
                    sent: self.sent,
                    request_id: &self.request_id,
                    target: self.backend.map(|_| self.target.as_deref().unwrap_or("default")),
                    route: RouteClass::of(self.action).as_str(),
                    action: self.action,
                    caller: self.caller.as_ref().map(|caller| caller.name.as_str()),
                    role,
                    refusal: self.refusal,
                    incomplete: (self.outcome != Outcome::Complete).then(|| self.outcome.as_str()),
                });
            }
            self.count(total);
            self.remember();
        }
    }
}
