//! Passes an upstream's response to the caller as it arrives: same status, same headers but for the list in
//! `http::headers`, same bytes at the same moments.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::Stream;
use tracing::warn;

use super::record::{Outcome, Record};
use crate::causes;
use crate::http::client::{BodyError, Response, ResponseBody, never_has_a_body};
use crate::http::headers;

/// Carries [`Record::request_id`] on every response.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-appliance-request-id");
/// What to check after a 403 from AWS, whose own text does not name the missing action.
pub const HINT_HEADER: HeaderName = HeaderName::from_static("x-appliance-hint");
/// AWS's request ids.
const UPSTREAM_REQUEST_ID: [&str; 2] = ["x-amzn-requestid", "x-amz-request-id"];

/// What of the target a reply needs.
pub struct Origin<'a> {
    /// Scheme and authority of the upstream, as it would write them in a `Location`.
    pub base: &'a str,
    /// For [`HINT_HEADER`].
    pub required_action: &'a str,
}

/// Turns an upstream's response into the one for the caller.
#[must_use]
pub fn pass(response: Response, method: &Method, origin: &Origin<'_>, mut record: Record) -> HttpResponse {
    let status = response.status;
    let length = response.content_length();
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
        warn!(request_id = record.request_id, hint, "AWS refused a request with 403");
        if let Ok(value) = HeaderValue::try_from(hint) {
            fields.insert(HINT_HEADER, value);
        }
    }
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        fields.insert(REQUEST_ID_HEADER, value);
    }
    let size = match (never_has_a_body(method, status), length) {
        // A 304 may announce the length of what was not sent; the server keeps a header that is set, and no more.
        (true, Some(length)) if status == StatusCode::NOT_MODIFIED => {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            BodySize::None
        }
        // For HEAD the size is announced and nothing follows.
        (true, Some(length)) if *method == Method::HEAD => BodySize::Sized(length),
        (true, _) => BodySize::None,
        (false, Some(length)) => BodySize::Sized(length),
        (false, None) => BodySize::Stream,
    };
    let body = ReplyBody { size, source: response.body, record };
    let mut reply = HttpResponse::new(status).set_body(body).map_into_boxed_body();
    *reply.headers_mut() = fields;
    reply
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
    size: BodySize,
    source: ResponseBody,
    record: Record,
}

impl MessageBody for ReplyBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        let piece = std::task::ready!(Pin::new(&mut this.source).poll_next(context));
        match &piece {
            Some(Ok(piece)) => this.record.sent += piece.len() as u64,
            // Returning the error cuts the caller's connection: a shortened body must not look complete.
            Some(Err(error)) => {
                this.record.outcome = Outcome::Truncated;
                warn!(request_id = this.record.request_id, error = causes::joined(error), "response cut short");
            }
            None => this.record.outcome = Outcome::Complete,
        }
        Poll::Ready(piece)
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // The server does not ask a body of no size for its end.
        if matches!(self.size, BodySize::None | BodySize::Sized(0)) {
            self.record.outcome = Outcome::Complete;
        }
        // Nor a sized one, once it has all of it.
        if self.size == BodySize::Sized(self.record.sent) {
            self.record.outcome = Outcome::Complete;
        }
    }
}
