//! The span of a request to the appliance, made when the request has ended.

use std::time::Instant;

use crate::serve::telemetry::finished::{FinishedRequest, RequestOutcome};
use crate::serve::telemetry::metrics::RouteClass;
use crate::serve::telemetry::spans::export::Loss;
use crate::serve::telemetry::spans::span::{Attributes, Finished, Kind, Span};
use crate::serve::telemetry::spans::trace::Trace;

impl Trace {
    /// Hands the request's span and those of its calls over, to be sent.
    pub(crate) fn end(&self, request: &FinishedRequest<'_>) {
        let mut attributes = Attributes::default();
        let method = attributes.method(request.method.as_str());
        attributes.text("url.path", Some(request.path));
        attributes.word("url.scheme", Some(self.scheme));
        attributes.server(&self.host);
        attributes.word("network.protocol.version", Some(self.version));
        attributes.text("client.address", request.client.map(|address| address.to_string()).as_deref());
        let status = request.status.map(|status| status.as_u16());
        attributes.number("http.response.status_code", status.map(Into::into));
        attributes.number("http.request.body.size", Some(request.received));
        attributes.number("http.response.body.size", Some(request.sent));
        attributes.text("appliance.request_id", Some(request.request_id));
        // By these names a target is found among the metrics as well.
        attributes.text("appliance.target", request.target.map(|_| request.target_name.unwrap_or("default")));
        attributes.word("appliance.route", Some(RouteClass::of(request.action).as_str()));
        attributes.word("appliance.action", request.action);
        attributes.text("appliance.caller", request.caller.map(|caller| caller.name.as_str()));
        attributes.word("appliance.role", request.caller.map(|caller| caller.role.as_str()));
        attributes.word("appliance.refusal", request.error_kind);
        let (calls, unrecorded) = self.take_calls();
        self.exporter.lose(Loss::TooMany, unrecorded);
        let has_failed = failure(request, &mut attributes);
        let span = Span {
            id: self.context.span,
            parent: self.parent,
            kind: Kind::Server,
            // What is done is one of a few hundred; a path can be anything.
            name: request.action.map_or(method.into(), |action| format!("{method} {action}").into()),
            start: self.began.0,
            end: self.time(Instant::now()),
            attributes,
            has_failed,
        };
        self.exporter.record(Finished {
            trace: self.context.trace,
            flags: self.context.flags,
            state: self.state.clone(),
            spans: std::iter::once(span).chain(calls).collect(),
        });
    }
}

/// Notes what failed. A request that was at fault itself (4xx) is no failure of who answered it.
fn failure(request: &FinishedRequest<'_>, attributes: &mut Attributes) -> bool {
    let has_failed = request.status.is_some_and(|status| status.is_server_error());
    match (request.outcome, request.error_kind, request.status) {
        (RequestOutcome::Truncated | RequestOutcome::CallerGone, ..) => {
            attributes.word("error.type", Some(request.outcome.as_str()));
            true
        }
        (RequestOutcome::Complete, Some(refusal), _) if has_failed => {
            attributes.word("error.type", Some(refusal));
            true
        }
        (RequestOutcome::Complete, None, Some(status)) if has_failed => {
            attributes.text("error.type", Some(status.as_str()));
            true
        }
        (RequestOutcome::Complete, ..) => false,
    }
}
