//! Passes an upstream's response to the caller as it arrives: same status, same headers but for the list in
//! `http::headers`, same bytes at the same moments.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::error_chain;
use crate::http::client::{BodyError, Response, ResponseBody};
use crate::http::{headers, into_response};
use crate::mlflow::download;
use crate::serve::artifacts::translate::Translation;
use crate::serve::pipeline::context::{Outcome, RequestContext, Severity};

/// Carries [`RequestContext::request_id`] on every response.
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-appliance-request-id");
/// What to check after a 403 from AWS, whose own text does not name the missing action.
pub(crate) const HINT_HEADER: HeaderName = HeaderName::from_static("x-appliance-hint");
/// AWS's request ids.
static UPSTREAM_REQUEST_ID: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-requestid"), HeaderName::from_static("x-amz-request-id")];

/// What of the target a reply needs.
pub(crate) struct Origin<'a> {
    /// What of the caller's path named the target; empty for the default one.
    pub prefix: &'a str,
    /// For [`HINT_HEADER`].
    pub required_action: &'a str,
}

/// Turns an upstream's response into the one for the caller.
#[must_use]
pub(crate) fn pass(
    mut response: Response,
    origin: &Origin<'_>,
    translation: Option<Translation>,
    mut record: RequestContext,
) -> HttpResponse {
    let status = response.status;
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_for_caller(&mut fields);
    relocate(&mut fields, origin.prefix);
    record.answer_with(status);
    record.upstream_request_id = UPSTREAM_REQUEST_ID
        .iter()
        .find_map(|name| fields.get(name))
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
pub(crate) fn object(mut response: Response, name: &str, mut record: RequestContext) -> HttpResponse {
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

fn send(
    response: Response,
    mut fields: HeaderMap,
    translation: Option<Translation>,
    record: RequestContext,
) -> HttpResponse {
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        fields.insert(REQUEST_ID_HEADER, value);
    }
    let body = ReplyBody { source: response.body, translation, at_end: false, record };
    into_response(response.status, fields, response.announced, body)
}

/// A redirect must lead the caller back through the appliance.
///
/// SECURITY: an upstream names itself in many ways, by addresses that only it can reach among them, and what it has been told
/// to redirect to may be somebody else's. So only the path of a redirect counts, whatever host it is for.
fn relocate(fields: &mut HeaderMap, prefix: &str) {
    let Some(location) = fields.get(header::LOCATION) else { return };
    let local = location.to_str().ok().and_then(|location| local(location.trim()));
    match local.and_then(|local| HeaderValue::try_from(format!("{prefix}{local}")).ok()) {
        Some(local) => drop(fields.insert(header::LOCATION, local)),
        None if location.to_str().is_ok_and(is_relative) => {}
        None => drop(fields.remove(header::LOCATION)),
    }
}

/// The path, query and fragment of a redirect that begins at the root of a server.
fn local(location: &str) -> Option<String> {
    let is_slash = |character: char| matches!(character, '/' | '\\');
    let authority = match location.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => rest,
        _ if location.starts_with(is_slash) => location,
        _ => return None,
    };
    // Browsers take a backslash for a slash.
    let rest = authority.trim_start_matches(is_slash);
    let path = if authority.len() - rest.len() > 1 {
        rest.find(|character| is_slash(character) || matches!(character, '?' | '#')).map_or("", |at| &rest[at..])
    } else {
        authority
    };
    Some(format!("/{}", path.trim_start_matches(is_slash)))
}

/// True for a redirect that begins where the request was.
fn is_relative(location: &str) -> bool {
    let first = location.split(['/', '?', '#']).next().unwrap_or_default();
    !first.contains([':', '\\']) && !location.starts_with('/')
}

/// The upstream's body, counted, and translated where locations stand in it.
struct ReplyBody {
    source: ResponseBody,
    translation: Option<Translation>,
    at_end: bool,
    record: RequestContext,
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
                this.record.cause = Some(error_chain::joined(error));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_back_through_the_appliance() {
        for (location, expected) in [
            ("/elsewhere?a=b#c", Some("/t/a/elsewhere?a=b#c")),
            ("https://us-east-1.experiments.sagemaker.aws/x", Some("/t/a/x")),
            ("http://127.0.0.1:27683/x?y=z", Some("/t/a/x?y=z")),
            ("HTTP://host", Some("/t/a/")),
            ("https://host?x", Some("/t/a/?x")),
            ("https://host//evil.example/x", Some("/t/a/evil.example/x")),
            ("//evil.example/x", Some("/t/a/x")),
            ("/\\evil.example/x", Some("/t/a/x")),
            ("\\\\evil.example\\x", Some("/t/a/x")),
            ("https:\\\\evil.example/x", Some("/t/a/x")),
            ("next?x=http://y", Some("next?x=http://y")),
            ("?page=2", Some("?page=2")),
            ("javascript:alert(1)", None),
            ("ftp://host/x", None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::LOCATION, HeaderValue::from_static(location));
            relocate(&mut fields, "/t/a");
            let got = fields.get(header::LOCATION).map(|value| value.to_str().expect("text"));
            assert_eq!(got, expected, "{location}");
        }
    }
}
