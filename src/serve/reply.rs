//! Passes an upstream's response to the caller as it arrives: same status, same headers but for the list in
//! `http::headers`, same bytes at the same moments.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::record::{Outcome, Record, Severity};
use crate::causes;
use crate::http::client::{BodyError, Response, ResponseBody};
use crate::http::{headers, relay};

/// Carries [`Record::request_id`] on every response.
pub(super) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-appliance-request-id");
/// What to check after a 403 from AWS, whose own text does not name the missing action.
pub(super) const HINT_HEADER: HeaderName = HeaderName::from_static("x-appliance-hint");
/// AWS's request ids.
const UPSTREAM_REQUEST_ID: [&str; 2] = ["x-amzn-requestid", "x-amz-request-id"];

/// What of the target a reply needs.
pub(super) struct Origin<'a> {
    /// Scheme and authority of the upstream, as it would write them in a `Location`.
    pub base: &'a str,
    /// For [`HINT_HEADER`].
    pub required_action: &'a str,
}

/// Turns an upstream's response into the one for the caller.
#[must_use]
pub(super) fn pass(response: Response, origin: &Origin<'_>, mut record: Record) -> HttpResponse {
    let status = response.status;
    let mut fields = headers::for_caller(&response.headers);
    relocate(&mut fields, origin.base);
    record.status = Some(status);
    record.upstream_request_id = UPSTREAM_REQUEST_ID
        .iter()
        .find_map(|name| response.headers.get(*name))
        .and_then(|value| value.to_str().ok())
        .map(ToOwned::to_owned);
    if status == StatusCode::FORBIDDEN {
        let hint = format!("the appliance's identity needs `{}` on the target", origin.required_action);
        if let Ok(value) = HeaderValue::try_from(hint.as_str()) {
            fields.insert(HINT_HEADER, value);
        }
        record.severity = Severity::Alarming;
        record.cause = Some(hint);
    }
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        fields.insert(REQUEST_ID_HEADER, value);
    }
    relay::respond(status, fields, response.announced, ReplyBody { source: response.body, record })
}

/// A redirect within the upstream must lead the caller back through the appliance.
fn relocate(fields: &mut HeaderMap, base: &str) {
    let local = fields
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| location.strip_prefix(base))
        .filter(|rest| rest.starts_with('/'))
        .and_then(|rest| HeaderValue::try_from(rest).ok());
    if let Some(local) = local {
        fields.insert(header::LOCATION, local);
    }
}

/// The upstream's body, counted.
struct ReplyBody {
    source: ResponseBody,
    record: Record,
}

impl MessageBody for ReplyBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        self.source.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        let piece = std::task::ready!(Pin::new(&mut this.source).poll_next(context));
        match &piece {
            Some(Ok(piece)) => this.record.sent += piece.len() as u64,
            // Returning the error cuts the caller's connection: a shortened body must not look complete.
            Some(Err(error)) => {
                this.record.outcome = Outcome::Truncated;
                this.record.severity = Severity::Alarming;
                this.record.cause = Some(causes::joined(error));
            }
            None => this.record.outcome = Outcome::Complete,
        }
        Poll::Ready(piece)
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // The server does not ask for the end of a body whose size it knows.
        let is_whole = match self.source.size() {
            BodySize::None => true,
            BodySize::Sized(length) => length == self.record.sent,
            BodySize::Stream => false,
        };
        if is_whole {
            self.record.outcome = Outcome::Complete;
        }
    }
}
