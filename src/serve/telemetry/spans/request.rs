//! The span of a request, which is made when the request has ended.

use std::net::IpAddr;
use std::time::Instant;

use crate::serve::telemetry::spans::counts::DropReason;
use crate::serve::telemetry::spans::span::{FinishedSpans, Span, SpanAttributes, SpanKind};
use crate::serve::telemetry::spans::trace::Trace;

/// The facts of an ended request that its span shows.
#[derive(Debug)]
pub(crate) struct EndedRequest<'a> {
    pub method: &'a str,
    /// The path without the query.
    pub path: &'a str,
    pub client: Option<IpAddr>,
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the response's body.
    pub sent: u64,
    pub request_id: &'a str,
    /// The target's label, as in the metrics.
    pub target: Option<&'a str>,
    /// The route class, as in the metrics.
    pub route: &'static str,
    pub action: Option<&'static str>,
    pub caller: Option<&'a str>,
    pub role: Option<&'static str>,
    /// The error code, if the appliance rejected the request.
    pub refusal: Option<&'static str>,
    /// The outcome, if the client did not get the whole response.
    pub incomplete: Option<&'static str>,
}

impl Trace {
    /// Queues the request's span and those of its calls for export.
    pub(crate) fn end(&self, request: &EndedRequest<'_>) {
        let mut attributes = SpanAttributes::default();
        let method = attributes.method(request.method);
        attributes.text("url.path", Some(request.path));
        attributes.word("url.scheme", Some(self.scheme));
        attributes.server(&self.host);
        attributes.word("network.protocol.version", Some(self.version));
        attributes.text("client.address", request.client.map(|address| address.to_string()).as_deref());
        attributes.number("http.response.status_code", request.status.map(Into::into));
        attributes.number("http.request.body.size", Some(request.received));
        attributes.number("http.response.body.size", Some(request.sent));
        attributes.text("appliance.request_id", Some(request.request_id));
        attributes.text("appliance.target", request.target);
        attributes.word("appliance.route", Some(request.route));
        attributes.word("appliance.action", request.action);
        attributes.text("appliance.caller", request.caller);
        attributes.word("appliance.role", request.role);
        attributes.word("appliance.refusal", request.refusal);
        let (calls, unrecorded) = self.take_calls();
        self.exporter.add_dropped(DropReason::TooMany, unrecorded);
        let has_failed = note_failure(request, &mut attributes);
        let span = Span {
            id: self.context.span,
            parent: self.parent,
            kind: SpanKind::Server,
            // A name has to have few values (OpenTelemetry's conventions). There are a few hundred actions, but any number of paths.
            name: request.action.map_or(method.into(), |action| format!("{method} {action}").into()),
            start: self.began.0,
            end: self.time(Instant::now()),
            attributes,
            has_failed,
        };
        self.exporter.record(FinishedSpans {
            trace: self.context.trace,
            flags: self.context.flags,
            state: self.state.clone(),
            spans: std::iter::once(span).chain(calls).collect(),
        });
    }
}

/// Notes the kind of failure, and returns true if there is one. A client's own error (4xx) is no failure of the server.
fn note_failure(request: &EndedRequest<'_>, attributes: &mut SpanAttributes) -> bool {
    let server_error = request.status.filter(|status| (500..600).contains(status));
    match (request.incomplete, server_error, request.refusal) {
        (Some(outcome), ..) => attributes.word("error.type", Some(outcome)),
        (None, Some(_), Some(refusal)) => attributes.word("error.type", Some(refusal)),
        (None, Some(status), None) => attributes.text("error.type", Some(&status.to_string())),
        (None, None, _) => return false,
    }
    true
}
