//! The part of a trace that is recorded here: a request's own span, and those of what it asks of others.

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
use crate::serve::server::connection;
use crate::serve::telemetry::spans::export::Exporter;
use crate::serve::telemetry::spans::span::{Attributes, Kind, Span};

/// Calls of one request that are recorded. Removing a directory may take thousands.
const CALLS: usize = 64;
/// A longer `tracestate` is passed on and not recorded; as much as everybody has to accept (§3.3.1.5).
const STATE_LIMIT: usize = 512;

/// The spans of one request, as far as they have come.
pub(crate) struct Trace {
    pub(crate) exporter: Arc<Exporter>,
    /// Trace, flags and the request's own span.
    pub(crate) context: TraceContext,
    /// The caller's span.
    pub(crate) parent: Option<u64>,
    pub(crate) state: Option<String>,
    /// When it began, by two clocks: one that can be shown, and one that does not jump.
    pub(crate) began: (SystemTime, Instant),
    pub(crate) host: String,
    pub(crate) scheme: &'static str,
    pub(crate) version: &'static str,
    calls: RefCell<Vec<Span>>,
    unrecorded: Cell<usize>,
}

impl Trace {
    /// Begins with a request; nothing if nobody wants to know about it.
    #[must_use]
    pub(crate) fn begin(exporter: &Arc<Exporter>, request: &HttpRequest) -> Option<Rc<Self>> {
        let fields = request.headers();
        let (parent, context) = match TraceContext::of(fields) {
            // Whoever has begun the trace has decided.
            Some(caller) if !caller.is_sampled() => return None,
            Some(caller) => (Some(caller.span), TraceContext { span: random(), ..caller }),
            None => {
                let trace = u128::from(random()) << 64 | u128::from(random());
                if !exporter.samples(trace) {
                    return None;
                }
                (None, TraceContext { trace, span: random(), flags: SAMPLED })
            }
        };
        let state = fields.get(TRACESTATE).filter(|_| parent.is_some()).and_then(|state| state.to_str().ok());
        Some(Rc::new(Self {
            exporter: Arc::clone(exporter),
            context,
            parent,
            state: state.filter(|state| state.len() <= STATE_LIMIT).map(ToOwned::to_owned),
            began: (clock::now(), Instant::now()),
            host: crate::serve::auth::browser::host(request).unwrap_or_default().to_owned(),
            scheme: if connection::is_secure(request) { "https" } else { "http" },
            version: version(request.version()),
            calls: RefCell::default(),
            unrecorded: Cell::default(),
        }))
    }

    /// The trace's id, as people look it up.
    #[must_use]
    pub(crate) fn id(&self) -> String {
        format!("{:032x}", self.context.trace)
    }

    /// Takes away from a request what belongs to another trace; a call's [`Call::name_in`] is to follow.
    pub(crate) fn take_over(&self, fields: &mut Fields) {
        // `traceparent` may be there twice, which is not valid, so setting it is not enough.
        fields.remove(&TRACEPARENT);
        if self.parent.is_none() {
            // It says something about the trace that is not continued.
            fields.remove(&TRACESTATE);
        }
    }

    /// Begins an attempt to ask an upstream, of which `earlier` came before.
    #[must_use]
    pub(crate) fn call(self: &Rc<Self>, method: &Method, endpoint: &Endpoint, target: &str, earlier: u32) -> Call {
        let mut attributes = Attributes::default();
        let method = attributes.method(method.as_str());
        attributes.text("server.address", Some(&endpoint.host));
        attributes.number("server.port", Some(endpoint.port.into()));
        // SECURITY: without the query, in which a presigned URL or somebody's search could stand.
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        attributes.text("url.full", Some(&format!("{}{path}", endpoint.url())));
        attributes.number("http.request.resend_count", (earlier > 0).then_some(earlier.into()));
        Call(Box::new(Pending {
            trace: Rc::clone(self),
            id: random(),
            began: Instant::now(),
            method,
            attributes,
            outcome: None,
        }))
    }

    /// The time that corresponds to an instant.
    pub(crate) fn time(&self, instant: Instant) -> SystemTime {
        self.began.0 + instant.saturating_duration_since(self.began.1)
    }

    /// The calls that have ended, and how many more there were.
    pub(crate) fn take_calls(&self) -> (Vec<Span>, usize) {
        (self.calls.take(), self.unrecorded.get())
    }
}

/// A request to an upstream. Recorded when it is dropped: nobody may have waited for its end.
/// Boxed, because the future of every request has room for one.
pub(crate) struct Call(Box<Pending>);

struct Pending {
    trace: Rc<Trace>,
    id: u64,
    began: Instant,
    method: &'static str,
    attributes: Attributes,
    outcome: Option<Outcome>,
}

enum Outcome {
    Answered,
    AnsweredBadly(String),
    Failed(&'static str),
}

impl Call {
    /// Names the call as the parent of whatever the upstream does for it.
    pub(crate) fn name_in(&self, fields: &mut Fields) {
        fields.insert(TRACEPARENT, TraceContext { span: self.0.id, ..self.0.trace.context }.value());
    }

    /// Ends with the head of an answer.
    pub(crate) fn answered(mut self, response: &Response) {
        let status = response.status;
        self.0.attributes.number("http.response.status_code", Some(status.as_u16().into()));
        self.0.attributes.word("network.protocol.version", Some(version(response.version)));
        let is_bad = status.is_client_error() || status.is_server_error();
        self.0.outcome =
            Some(if is_bad { Outcome::AnsweredBadly(status.as_str().to_owned()) } else { Outcome::Answered });
    }

    /// Ends without one.
    pub(crate) fn failed(mut self, kind: &'static str) {
        self.0.outcome = Some(Outcome::Failed(kind));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.0.trace.calls.borrow_mut();
        if calls.len() >= CALLS {
            self.0.trace.unrecorded.set(self.0.trace.unrecorded.get() + 1);
            return;
        }
        let mut attributes = std::mem::take(&mut self.0.attributes);
        let has_failed = match self.0.outcome.take() {
            Some(Outcome::Answered) => false,
            Some(Outcome::AnsweredBadly(status)) => {
                attributes.text("error.type", Some(&status));
                true
            }
            Some(Outcome::Failed(kind)) => {
                attributes.word("error.type", Some(kind));
                true
            }
            None => {
                attributes.word("error.type", Some("caller-gone"));
                true
            }
        };
        calls.push(Span {
            id: self.0.id,
            parent: Some(self.0.trace.context.span),
            kind: Kind::Client,
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

/// An id: random, and not zero, which would be none. `RandomState` is the standard library's source; whoever guesses
/// an id can do no more than name it.
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
