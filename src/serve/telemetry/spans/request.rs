//! The span of a request to the appliance, made of its record when it has ended.

use std::time::Instant;

use crate::serve::pipeline::context::{Outcome, RequestContext};
use crate::serve::telemetry::metrics::RouteClass;
use crate::serve::telemetry::spans::export::Loss;
use crate::serve::telemetry::spans::span::{Attributes, Finished, Kind, Span};
use crate::serve::telemetry::spans::trace::Trace;

impl Trace {
    /// Hands the request's span and those of its calls over, to be sent.
    pub(crate) fn end(&self, record: &RequestContext) {
        let mut attributes = Attributes::default();
        let method = attributes.method(record.method.as_str());
        attributes.text("url.path", Some(&record.path));
        attributes.word("url.scheme", Some(self.scheme));
        attributes.server(&self.host);
        attributes.word("network.protocol.version", Some(self.version));
        attributes.text("client.address", record.client.map(|address| address.to_string()).as_deref());
        let status = record.status.map(|status| status.as_u16());
        attributes.number("http.response.status_code", status.map(Into::into));
        attributes.number("http.request.body.size", Some(record.forwarding.received));
        attributes.number("http.response.body.size", Some(record.sent));
        attributes.text("appliance.request_id", Some(&record.request_id));
        // By these names a target is found among the metrics as well.
        attributes.text("appliance.target", record.backend.map(|_| record.target.as_deref().unwrap_or("default")));
        attributes.word("appliance.route", Some(RouteClass::of(record.action).as_str()));
        attributes.word("appliance.action", record.action);
        attributes.text("appliance.caller", record.caller.as_ref().map(|caller| caller.name.as_str()));
        attributes.word("appliance.role", record.caller.as_ref().map(|caller| caller.role.as_str()));
        attributes.word("appliance.refusal", record.refusal);
        let (calls, unrecorded) = self.take_calls();
        self.exporter.lose(Loss::TooMany, unrecorded);
        let has_failed = failure(record, &mut attributes);
        let span = Span {
            id: self.context.span,
            parent: self.parent,
            kind: Kind::Server,
            // What is done is one of a few hundred; a path can be anything.
            name: record.action.map_or(method.into(), |action| format!("{method} {action}").into()),
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
fn failure(record: &RequestContext, attributes: &mut Attributes) -> bool {
    let has_failed = record.status.is_some_and(|status| status.is_server_error());
    match (record.outcome, record.refusal, record.status) {
        (Outcome::Truncated | Outcome::CallerGone, ..) => {
            attributes.word("error.type", Some(record.outcome.as_str()));
            true
        }
        (Outcome::Complete, Some(refusal), _) if has_failed => {
            attributes.word("error.type", Some(refusal));
            true
        }
        (Outcome::Complete, None, Some(status)) if has_failed => {
            attributes.text("error.type", Some(status.as_str()));
            true
        }
        (Outcome::Complete, ..) => false,
    }
}
