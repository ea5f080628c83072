//! Passes an upstream's response to the caller as it arrives: same status, same headers but for the list in
//! `http::headers`, same bytes at the same moments.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::artifacts::translate::Translation;
use super::record::{Outcome, Record, Severity};
use crate::causes;
use crate::http::client::{BodyError, Response, ResponseBody};
use crate::http::{headers, relay};
use crate::mlflow::download;

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
    /// What of the caller's path named the target; empty for the default one.
    pub prefix: &'a str,
    /// For [`HINT_HEADER`].
    pub required_action: &'a str,
}

/// Turns an upstream's response into the one for the caller.
#[must_use]
pub(super) fn pass(
    mut response: Response,
    origin: &Origin<'_>,
    translation: Option<Translation>,
    mut record: Record,
) -> HttpResponse {
    let status = response.status;
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_for_caller(&mut fields);
    relocate(&mut fields, origin);
    record.answer_with(status);
    record.upstream_request_id = UPSTREAM_REQUEST_ID
        .iter()
        .find_map(|name| fields.get(*name))
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
    send(response, fields, translation, record)
}

/// Turns an object from S3 into a response for the caller, who saves it under `name`.
#[must_use]
pub(super) fn object(mut response: Response, name: &str, mut record: Record) -> HttpResponse {
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_of_object(&mut fields);
    record.answer_with(response.status);
    // SECURITY: what somebody has uploaded must not run as a page of this origin.
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Ok(value) = HeaderValue::try_from(download::attachment(name)) {
        fields.insert(header::CONTENT_DISPOSITION, value);
    }
    let stored = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if response.status.is_success()
        && let Some(kind) = download::type_of_object(stored, name)
    {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    send(response, fields, None, record)
}

fn send(response: Response, mut fields: HeaderMap, translation: Option<Translation>, record: Record) -> HttpResponse {
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        fields.insert(REQUEST_ID_HEADER, value);
    }
    let body = ReplyBody { source: response.body, translation, at_end: false, record };
    relay::respond(response.status, fields, response.announced, body)
}

/// A redirect within the upstream must lead the caller back through the appliance.
fn relocate(fields: &mut HeaderMap, origin: &Origin<'_>) {
    let prefix = origin.prefix;
    let local = fields
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| location.strip_prefix(origin.base).or(Some(location).filter(|_| !prefix.is_empty())))
        .filter(|rest| rest.starts_with('/') && !rest.starts_with("//"))
        .and_then(|rest| HeaderValue::try_from(format!("{prefix}{rest}")).ok());
    if let Some(local) = local {
        fields.insert(header::LOCATION, local);
    }
}

/// The upstream's body, counted, and translated where locations stand in it.
struct ReplyBody {
    source: ResponseBody,
    translation: Option<Translation>,
    at_end: bool,
    record: Record,
}

impl ReplyBody {
    /// The next piece, translated. Never an empty one: as a chunk, that would be the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.at_end {
            return Poll::Ready(None);
        }
        loop {
            let piece = std::task::ready!(Pin::new(&mut self.source).poll_next(context));
            let Some(translation) = &mut self.translation else { return Poll::Ready(piece) };
            let translated = match piece {
                Some(Ok(piece)) => translation.push(piece),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.at_end = true;
                    translation.finish()
                }
            };
            if !translated.is_empty() {
                return Poll::Ready(Some(Ok(translated)));
            }
            if self.at_end {
                return Poll::Ready(None);
            }
        }
    }
}

impl MessageBody for ReplyBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        match (self.source.size(), &self.translation) {
            (BodySize::Sized(_), Some(_)) => BodySize::Stream,
            (size, _) => size,
        }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        let piece = std::task::ready!(this.poll_piece(context));
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
        let is_whole = match self.size() {
            BodySize::None => true,
            BodySize::Sized(length) => length == self.record.sent,
            BodySize::Stream => false,
        };
        if is_whole {
            self.record.outcome = Outcome::Complete;
        }
    }
}
