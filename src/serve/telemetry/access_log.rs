//! The access log: it observes one request, and reports it when the last byte of its response has gone or the client has.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};

use crate::access::caller::Caller;
use crate::serve::telemetry::finished::{CallTimes, FinishedRequest, RequestOutcome, Severity};
use crate::serve::telemetry::metrics::WorkerCounters;
use crate::serve::telemetry::report;
use crate::serve::telemetry::request_reports::{RequestId, RequestReports};
use crate::serve::telemetry::spans::Trace;

/// Observes one request, and reports it when dropped. It decides nothing and releases nothing.
pub(crate) struct AccessLog {
    reports: Arc<RequestReports>,
    /// The counters of the worker.
    counters: Rc<WorkerCounters>,
    /// The id that the client receives and the log shows.
    pub(crate) request_id: RequestId,
    /// The trace that the request is part of, if it is recorded here.
    pub(crate) trace: Option<Rc<Trace>>,
    method: Method,
    path: String,
    started: Instant,
    notes: RequestNotes,
}

/// The notes that the stages have made about a request.
#[derive(Default)]
struct RequestNotes {
    client: Cell<Option<IpAddr>>,
    caller: OnceCell<Caller>,
    /// The issuer of a JWT that was rejected.
    issuer: OnceCell<Arc<str>>,
    target: Cell<Option<usize>>,
    target_name: OnceCell<String>,
    action: Cell<Option<&'static str>>,
    /// The id of the personal token that the request makes, revokes or asks about.
    token: OnceCell<String>,
    received: Cell<u64>,
    /// The time that the body took to arrive.
    receiving: Cell<Duration>,
    retries: Cell<u32>,
    upstream: Cell<Option<Duration>>,
    /// The time of all calls to MLflow, and of those to S3.
    calls: Cell<CallTimes>,
    presigned: Cell<[u32; 2]>,
    upstream_request_id: RefCell<Option<String>>,
    error_code: Cell<Option<&'static str>>,
    is_denied: Cell<bool>,
    cause: RefCell<Option<String>>,
    severity: Cell<Severity>,
    status: Cell<Option<StatusCode>>,
    /// The time until the head of the response was ready.
    responded: Cell<Option<Duration>>,
    sent: Cell<u64>,
    outcome: Cell<RequestOutcome>,
}

impl AccessLog {
    /// Begins to observe a request.
    #[must_use]
    pub(crate) fn begin(
        reports: &Arc<RequestReports>,
        counters: &Rc<WorkerCounters>,
        request: &HttpRequest,
        trace: Option<Rc<Trace>>,
    ) -> Self {
        let request_id = reports.begin();
        Self {
            request_id,
            trace,
            reports: Arc::clone(reports),
            counters: Rc::clone(counters),
            method: request.method().clone(),
            path: request.path().to_owned(),
            started: Instant::now(),
            notes: RequestNotes {
                client: Cell::new(request.peer_addr().map(|address| address.ip())),
                ..RequestNotes::default()
            },
        }
    }

    /// The address that the request comes from: that of the peer, until [`Self::located`].
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.notes.client.get()
    }

    /// The caller, once it is authenticated.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.notes.caller.get()
    }

    /// Notes the client's address.
    pub(crate) fn located(&self, client: Option<IpAddr>) {
        self.notes.client.set(client);
    }

    /// Notes the caller.
    pub(crate) fn authenticated(&self, caller: Caller) -> &Caller {
        self.notes.caller.get_or_init(|| caller)
    }

    /// Notes the issuer of a JWT that was rejected.
    pub(crate) fn rejected_issuer(&self, issuer: &Arc<str>) {
        self.notes.issuer.get_or_init(|| Arc::clone(issuer));
    }

    /// Notes the target's index and name.
    pub(crate) fn routed(&self, target: usize, name: Option<&str>) {
        self.notes.target.set(Some(target));
        if let Some(name) = name {
            self.notes.target_name.get_or_init(|| name.to_owned());
        }
    }

    /// Notes the action, as in the table of routes.
    pub(crate) fn classified(&self, action: &'static str) {
        self.notes.action.set(Some(action));
    }

    /// Notes the id of the personal token that the request makes, revokes or asks about.
    pub(crate) fn concerns(&self, token: &str) {
        self.notes.token.get_or_init(|| token.to_owned());
    }

    /// Notes the size of a body, and the time that it took to arrive if it was buffered.
    pub(crate) fn received(&self, bytes: u64, time: Option<Duration>) {
        self.notes.received.set(bytes);
        if let Some(time) = time {
            self.notes.receiving.set(time);
        }
    }

    /// Notes a retry.
    pub(crate) fn retried(&self) {
        self.notes.retries.set(self.notes.retries.get() + 1);
    }

    /// Notes the time from the first byte sent to the upstream to the head of its response.
    pub(crate) fn upstream_responded(&self, time: Duration) {
        self.notes.upstream.set(Some(time));
    }

    /// Notes the time from the first byte sent to managed MLflow to the head of its response.
    pub(crate) fn mlflow_responded(&self, time: Duration) {
        self.upstream_responded(time);
        let calls = self.notes.calls.get();
        self.notes.calls.set(CallTimes { mlflow: calls.mlflow + time, ..calls });
    }

    /// Notes the time of all calls to S3, and that S3 has answered the last of them if `is_answered` is true.
    pub(crate) fn called_s3(&self, time: Duration, is_answered: bool) {
        self.notes.calls.set(CallTimes { s3: time, ..self.notes.calls.get() });
        if is_answered && !time.is_zero() && self.notes.upstream.get().is_none() {
            self.upstream_responded(time);
        }
    }

    /// Notes that the response lets the client read an artifact from S3 itself.
    pub(crate) fn presigned_download(&self) {
        self.notes.presigned.set([1, 0]);
    }

    /// Notes that the response lets the client write an artifact to S3 itself.
    pub(crate) fn presigned_upload(&self) {
        self.notes.presigned.set([0, 1]);
    }

    /// Notes AWS's own id of the request.
    pub(crate) fn identified_by_aws(&self, id: Option<&str>) {
        self.notes.upstream_request_id.replace(id.map(ToOwned::to_owned));
    }

    /// Notes the error code and the cause of a proxy error.
    pub(crate) fn rejected(&self, error_code: &'static str, cause: String) {
        self.notes.error_code.set(Some(error_code));
        self.notes.cause.replace(Some(cause));
    }

    /// Notes that authentication or authorization rejected the request.
    pub(crate) fn denied(&self) {
        self.notes.is_denied.set(true);
    }

    /// Notes something that the operator has to do something about.
    pub(crate) fn alarming(&self, cause: Option<String>) {
        self.notes.severity.set(Severity::Alarming);
        if cause.is_some() {
            self.notes.cause.replace(cause);
        }
    }

    /// Notes that the request is the probe of a load balancer, which no log has to show.
    pub(crate) fn probed(&self) {
        self.notes.severity.set(Severity::Probe);
    }

    /// Notes that the head of the response is ready.
    pub(crate) fn responded(&self, status: StatusCode) {
        self.notes.status.set(Some(status));
        self.notes.responded.set(Some(self.started.elapsed()));
    }

    /// Notes that more of the response's body was sent.
    pub(crate) fn sent(&self, bytes: u64) {
        self.notes.sent.set(self.notes.sent.get() + bytes);
    }

    /// The bytes of the response's body that were sent until now.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.notes.sent.get()
    }

    /// Notes how the response ended, as far as that is known yet.
    pub(crate) fn ended(&self, outcome: RequestOutcome) {
        self.notes.outcome.set(outcome);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.reports.end();
        let notes = &self.notes;
        let (cause, upstream_request_id) = (notes.cause.take(), notes.upstream_request_id.take());
        let (upstream, calls) = (notes.upstream.get(), notes.calls.get());
        let of_caller = notes.caller.get().and_then(|caller| caller.issuer.as_deref());
        let ended = Instant::now();
        // If the appliance made several calls, the time of all of them counts as the upstream's.
        let added = |last: Duration| {
            let upstream = last.max(calls.mlflow + calls.s3);
            Some(notes.responded.get()?.saturating_sub(upstream).saturating_sub(notes.receiving.get()))
        };
        let finished = FinishedRequest {
            request_id: self.request_id.as_str(),
            method: &self.method,
            path: &self.path,
            client: notes.client.get(),
            caller: notes.caller.get(),
            issuer: of_caller.or(notes.issuer.get().map(|name| &**name)),
            target: notes.target.get(),
            target_name: notes.target_name.get().map(String::as_str),
            action: notes.action.get(),
            token: notes.token.get().map(String::as_str),
            is_denied: notes.is_denied.get(),
            status: notes.status.get(),
            error_code: notes.error_code.get(),
            cause: cause.as_deref(),
            received: notes.received.get(),
            sent: notes.sent.get(),
            ended,
            total: ended.saturating_duration_since(self.started),
            upstream,
            overhead: upstream.and_then(added),
            calls,
            presigned: notes.presigned.get(),
            upstream_request_id: upstream_request_id.as_deref(),
            retries: notes.retries.get(),
            outcome: notes.outcome.get(),
            severity: notes.severity.get(),
        };
        report::report(&finished, self.trace.as_deref(), &self.counters, &self.reports.audit);
    }
}
