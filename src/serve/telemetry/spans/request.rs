//! The span of a request, which is made when the request has ended.

use std::time::Instant;

use actix_web::http::StatusCode;

use crate::serve::telemetry::finished::{FinishedRequest, RequestOutcome};
use crate::serve::telemetry::metrics::RouteClass;
use crate::serve::telemetry::spans::counts::DropReason;
use crate::serve::telemetry::spans::span::{FinishedSpans, Span, SpanAttributes, SpanKind};
use crate::serve::telemetry::spans::trace::Trace;

impl Trace {
    /// Queues the request's span and those of its calls for export.
    pub(crate) fn end(&self, request: &FinishedRequest<'_>) {
        let mut attributes = SpanAttributes::default();
        let method = attributes.method(request.method.as_str());
        attributes.text("url.path", Some(request.path));
        attributes.word("url.scheme", Some(self.scheme));
        attributes.server(&self.host);
        attributes.word("network.protocol.version", Some(self.version));
        attributes.text("client.address", request.client.map(|address| address.to_string()).as_deref());
        attributes.number("http.response.status_code", request.status.map(|status| status.as_u16().into()));
        attributes.number("http.request.body.size", Some(request.received));
        attributes.number("http.response.body.size", Some(request.sent));
        attributes.text("appliance.request_id", Some(request.request_id));
        attributes.text("appliance.target", request.target.map(|_| request.target_name.unwrap_or("default")));
        attributes.word("appliance.route", Some(RouteClass::of(request.action).as_str()));
        attributes.word("appliance.action", request.action);
        attributes.text("appliance.caller", request.caller.map(|caller| caller.name.as_str()));
        attributes.word("appliance.role", request.caller.map(|caller| caller.role.as_str()));
        attributes.word("appliance.error_code", request.error_code);
        let (calls, unrecorded) = self.take_calls();
        self.exporter.counts.add_dropped(DropReason::TooMany, unrecorded);
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
fn note_failure(request: &FinishedRequest<'_>, attributes: &mut SpanAttributes) -> bool {
    let incomplete = (request.outcome != RequestOutcome::Complete).then(|| request.outcome.as_str());
    let server_error = request.status.filter(StatusCode::is_server_error);
    match (incomplete, server_error, request.error_code) {
        (Some(outcome), ..) => attributes.word("error.type", Some(outcome)),
        (None, Some(_), Some(code)) => attributes.word("error.type", Some(code)),
        (None, Some(status), None) => attributes.text("error.type", Some(status.as_str())),
        (None, None, _) => return false,
    }
    true
}
