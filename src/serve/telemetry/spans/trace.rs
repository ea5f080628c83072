//! The part of a trace that the appliance records: the span of a request, and those of its upstream calls.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::HttpRequest;
use actix_web::http::{Method, Version};

use crate::clock;
use crate::http::client::{Endpoint, Response};
use crate::http::fields::Fields;
use crate::http::trace_context::{SAMPLED, TRACEPARENT, TRACESTATE, TraceContext};
use crate::serve::telemetry::spans::exporter::SpanExporter;
use crate::serve::telemetry::spans::span::{AttributeValue, Span, SpanAttributes, SpanKind};

/// The maximum number of recorded calls of one request. Removing a directory may take thousands.
const CALLS: usize = 64;
/// The maximum length of a recorded `tracestate`, which every vendor has to accept (W3C Trace Context §3.3.1.5). A longer one
/// is forwarded but not recorded.
const STATE_LIMIT: usize = 512;

/// The spans of one request in progress.
pub(crate) struct Trace {
    pub(crate) exporter: Arc<SpanExporter>,
    /// The ids of the trace and of the request's own span, and the flags.
    pub(crate) context: TraceContext,
    /// The client's span.
    pub(crate) parent: Option<u64>,
    pub(crate) state: Option<String>,
    /// The start by two clocks: the wall clock, and one that never jumps.
    pub(crate) began: (SystemTime, Instant),
    pub(crate) host: String,
    pub(crate) scheme: &'static str,
    pub(crate) version: &'static str,
    /// True if only the client has decided that the trace is recorded.
    is_forced: bool,
    calls: RefCell<Vec<Span>>,
    unrecorded: Cell<usize>,
}

impl Trace {
    /// Begins the trace of a request, unless it is not sampled. `host` is the authority that the client addressed.
    #[must_use]
    pub(crate) fn begin(
        exporter: &Arc<SpanExporter>,
        request: &HttpRequest,
        host: Option<&str>,
        is_secure: bool,
    ) -> Option<Rc<Self>> {
        let fields = request.headers();
        let new = || u128::from(random()) << 64 | u128::from(random());
        let (parent, context, is_forced) = match TraceContext::of(fields) {
            // The client that began the trace has decided.
            Some(client) if !client.is_sampled() => return None,
            // SECURITY: the sampler judges an id that the client has not chosen.
            Some(client) => {
                (Some(client.span), TraceContext { span: random(), ..client }, !exporter.sampler.samples(new()))
            }
            None => {
                let trace = new();
                if !exporter.sampler.samples(trace) {
                    return None;
                }
                (None, TraceContext { trace, span: random(), flags: SAMPLED }, false)
            }
        };
        let state = fields.get(TRACESTATE).filter(|_| parent.is_some()).and_then(|state| state.to_str().ok());
        Some(Rc::new(Self {
            exporter: Arc::clone(exporter),
            context,
            parent,
            state: state.filter(|state| state.len() <= STATE_LIMIT).map(ToOwned::to_owned),
            began: (clock::now(), Instant::now()),
            host: host.unwrap_or_default().to_owned(),
            scheme: if is_secure { "https" } else { "http" },
            version: version(request.version()),
            is_forced,
            calls: RefCell::default(),
            unrecorded: Cell::default(),
        }))
    }

    /// Returns true if only the client has decided that the trace is recorded. That decision holds if the client is authenticated.
    #[must_use]
    pub(crate) fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// Returns the trace's id in hexadecimal.
    pub(crate) fn id(&self) -> String {
        format!("{:032x}", self.context.trace)
    }

    /// Removes the fields of another trace from an upstream request. [`CallSpan::name_in`] has to follow.
    pub(crate) fn take_over(&self, fields: &mut Fields) {
        // Setting `traceparent` is not enough: an invalid request may have it twice.
        fields.remove(&TRACEPARENT);
        if self.parent.is_none() {
            // The state belongs to the trace that is not continued.
            fields.remove(&TRACESTATE);
        }
    }

    /// Begins the span of an upstream call; `earlier` is the number of attempts before it.
    #[must_use]
    pub(crate) fn call(self: &Rc<Self>, method: &Method, endpoint: &Endpoint, target: &str, earlier: u32) -> CallSpan {
        let mut attributes = SpanAttributes::default();
        let method = attributes.method(method.as_str());
        attributes.text("server.address", Some(&endpoint.host));
        attributes.number("server.port", Some(endpoint.port.into()));
        // SECURITY: without the query, which may contain a presigned URL's signature or a user's search.
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        attributes.text("url.full", Some(&format!("{}{path}", endpoint.url())));
        attributes.number("http.request.resend_count", (earlier > 0).then_some(earlier.into()));
        CallSpan(Box::new(PendingCall {
            trace: Rc::clone(self),
            id: random(),
            began: Instant::now(),
            method,
            attributes,
            error: Some("caller-gone".into()),
        }))
    }

    /// Returns the wall-clock time of an instant.
    pub(crate) fn time(&self, instant: Instant) -> SystemTime {
        self.began.0 + instant.saturating_duration_since(self.began.1)
    }

    /// Takes the spans of ended calls, and the number of calls that were not recorded.
    pub(crate) fn take_calls(&self) -> (Vec<Span>, usize) {
        (self.calls.take(), self.unrecorded.get())
    }
}

/// The span of an upstream call. It is recorded when it is dropped, because the client may leave before the call ends. It is
/// boxed, because the future of every request has room for one.
pub(crate) struct CallSpan(Box<PendingCall>);

struct PendingCall {
    trace: Rc<Trace>,
    id: u64,
    began: Instant,
    method: &'static str,
    attributes: SpanAttributes,
    /// The error with which the call ended. Without a response, the caller has gone before the end.
    error: Option<Cow<'static, str>>,
}

impl CallSpan {
    /// Names the call as the parent of the upstream's spans.
    pub(crate) fn name_in(&self, fields: &mut Fields) {
        fields.insert(TRACEPARENT, TraceContext { span: self.0.id, ..self.0.trace.context }.value());
    }

    /// Ends with the head of a response.
    pub(crate) fn answered(mut self, response: &Response) {
        let status = response.status;
        self.0.attributes.number("http.response.status_code", Some(status.as_u16().into()));
        self.0.attributes.word("network.protocol.version", Some(version(response.version)));
        let is_error = status.is_client_error() || status.is_server_error();
        self.0.error = is_error.then(|| status.as_str().to_owned().into());
    }

    /// Ends without a response.
    pub(crate) fn failed(mut self, error_code: &'static str) {
        self.0.error = Some(error_code.into());
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        let mut calls = self.0.trace.calls.borrow_mut();
        if calls.len() >= CALLS {
            self.0.trace.unrecorded.set(self.0.trace.unrecorded.get() + 1);
            return;
        }
        let mut attributes = std::mem::take(&mut self.0.attributes);
        let error = self.0.error.take();
        let has_failed = error.is_some();
        attributes.0.extend(error.map(|error| ("error.type", AttributeValue::Text(error))));
        calls.push(Span {
            id: self.0.id,
            parent: Some(self.0.trace.context.span),
            kind: SpanKind::Client,
            name: self.0.method.into(),
            start: self.0.trace.time(self.0.began),
            end: self.0.trace.time(Instant::now()),
            attributes,
            has_failed,
        });
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Returns a random id. It is not zero, because zero stands for no id. `RandomState` is seeded by the kernel; `fastrand`, which
/// begins with the time since the start of the machine, might give two instances of a fleet the same ids. A guessed id gives no
/// access to anything.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish().max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_use_all_their_bits() {
        let ids: HashSet<u64> = (0..10_000).map(|_| random()).collect();
        assert_eq!(ids.len(), 10_000);
        for bit in 0..64 {
            let ones = ids.iter().filter(|id| *id >> bit & 1 == 1).count();
            assert!((4_500..5_500).contains(&ones), "bit {bit}: {ones}");
        }
    }
}
