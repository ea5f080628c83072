//! Translates between real and public locations in bodies, as they are streamed.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{BodySize, MessageBody as _};
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::http::client::{ClientError, Response};
use crate::http::uri;
use crate::mlflow::json_paths::{JsonPath, JsonPaths, StringKind};
use crate::mlflow::rewrite::Rewriter;
use crate::mlflow::{filter, foreign, graphql, locations};
use crate::serve::error::ProxyError;
use crate::serve::upstream::s3::S3Client;

/// Rewrites one body.
pub(crate) type Translation = Rewriter<Box<dyn FnMut(StringKind, &str) -> Option<String>>>;

/// The translated body of a request.
pub(crate) type TranslatedBody = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// An objection to the locations of a request, which is set while its body is read.
pub(crate) type Objection = Rc<OnceCell<ProxyError>>;

/// Returns the translation of a response, or nothing if the response needs none. Its type does not matter, because only JSON has
/// strings at these places.
///
/// # Errors
/// [`ClientError::Invalid`] if the body is compressed, although the request has excluded that. Locations could not be found in it.
pub(crate) fn of_response(
    response: &Response,
    places: JsonPaths,
    s3: &Rc<S3Client>,
) -> Result<Option<Translation>, ClientError> {
    let is_error = response.status.is_client_error() || response.status.is_server_error();
    let places = match places {
        JsonPaths::Known(paths) if is_error && !paths.is_empty() => locations::ERROR.into(),
        places => places,
    };
    if places.is_empty() || matches!(response.body.size(), BodySize::None | BodySize::Sized(0)) {
        return Ok(None);
    }
    if !is_plain(&response.headers) {
        return Err(ClientError::Invalid("the response is compressed, although the request has excluded that".into()));
    }
    let (s3, is_everywhere) = (Rc::clone(s3), matches!(places, JsonPaths::Everywhere));
    let publish = move |kind, text: &str| match kind {
        StringKind::Message => s3.store.publish_within(text),
        _ if is_everywhere => s3.store.publish(text).or_else(|| s3.store.publish_within(text)),
        _ => s3.store.publish(text),
    };
    Ok(Some(Rewriter::new(places, Box::new(publish) as Box<_>)))
}

/// Returns the body of a request with these headers, in which public locations become real ones. Unless locations may be
/// elsewhere, a location outside of the store causes an objection, and so does a body whose locations cannot be read.
pub(crate) fn of_request<S>(
    payload: S,
    headers: &HeaderMap,
    places: &'static [JsonPath],
    s3: &Rc<S3Client>,
    may_be_elsewhere: bool,
) -> (TranslatedBody, Objection)
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let objection = Objection::default();
    let is_judged = !may_be_elsewhere && places.iter().any(|place| place.kind == StringKind::Location);
    if places.is_empty() || !is_judged && !is_plain_json(headers) {
        return (Box::pin(payload), objection);
    }
    let (s3, noted) = (Rc::clone(s3), Rc::clone(&objection));
    let translation = Rewriter::new(places, move |kind, text: &str| match kind {
        StringKind::Filter => filter::resolved(text, &s3.store),
        StringKind::Document if filter::may_have_locations(text) => {
            graphql::with_strings(text, |string| filter::resolved(string, &s3.store))
        }
        StringKind::Document | StringKind::Message => None,
        StringKind::Missed => {
            if is_judged {
                let _ = noted.set(ProxyError::UnreadableLocations);
            }
            None
        }
        StringKind::Location => {
            if is_judged && foreign::is_foreign(text, &s3.store) {
                let _ = noted.set(ProxyError::ForeignLocation(beginning(text)));
            }
            s3.store.resolve(text)
        }
    });
    let shape = is_judged.then(|| JsonShape { has_begun: false, objection: Rc::clone(&objection) });
    let pieces = stream::unfold((payload, Some(translation), shape), |(mut payload, translation, mut shape)| async {
        let mut translation = translation?;
        match payload.next().await {
            Some(Ok(piece)) => {
                if let Some(shape) = &mut shape {
                    shape.look_at(&piece);
                }
                Some((Ok(translation.push(piece)), (payload, Some(translation), shape)))
            }
            Some(Err(error)) => Some((Err(error), (payload, None, shape))),
            None => Some((Ok(translation.finish()), (payload, None, shape))),
        }
    });
    (Box::pin(pieces), objection)
}

/// Returns a query in normal form, in whose conditions public locations become real ones.
pub(crate) fn of_query<'a>(query: &'a str, places: &[JsonPath], s3: &S3Client) -> Cow<'a, str> {
    if query.is_empty() || !places.iter().any(|place| place.kind == StringKind::Filter && place.path == ["filter"]) {
        return Cow::Borrowed(query);
    }
    let translated = |pair: &str| {
        let value = percent_encoding::percent_decode_str(pair.strip_prefix("filter=")?).decode_utf8().ok()?;
        filter::resolved(&value, &s3.store).map(|filter| format!("filter={}", uri::encoded(&filter)))
    };
    let pairs: Vec<_> = query.split('&').map(|pair| translated(pair).map_or(Cow::Borrowed(pair), Cow::Owned)).collect();
    if pairs.iter().all(|pair| matches!(pair, Cow::Borrowed(_))) {
        Cow::Borrowed(query)
    } else {
        pairs.join("&").into()
    }
}

/// Checks that a body is an object of JSON in UTF-8.
///
/// SECURITY: MLflow accepts UTF-16 and UTF-32 as well, and a string that contains the object as text. The check of locations
/// would miss those.
struct JsonShape {
    has_begun: bool,
    objection: Objection,
}

impl JsonShape {
    fn look_at(&mut self, piece: &[u8]) {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        let mut is_object = !piece.contains(&0);
        if !self.has_begun {
            let text = piece.strip_prefix(BYTE_ORDER_MARK).unwrap_or(piece);
            let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
            self.has_begun = first.is_some();
            is_object &= first.is_none_or(|first| *first == b'{');
        }
        if !is_object {
            let _ = self.objection.set(ProxyError::UnreadableLocations);
        }
    }
}

/// Returns the beginning of a caller's text, for an error message.
fn beginning(text: &str) -> String {
    const LIMIT: usize = 200;
    let beginning: String = text.chars().take(LIMIT).collect();
    if beginning.len() < text.len() { beginning + "…" } else { beginning }
}

/// Returns true for JSON without a content encoding. A client may omit the type, though MLflow's own sets it.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|value| value.to_ascii_lowercase().trim_start().starts_with("application/json"));
    is_json && is_plain(headers)
}

/// Returns true for a body without a content encoding.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
