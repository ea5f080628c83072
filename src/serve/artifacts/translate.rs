//! Between real and public locations in what passes through, as it passes.

use std::pin::Pin;
use std::rc::Rc;

use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::store::Store;
use crate::mlflow::rewrite::{Place, Rewriter};

/// Rewrites one body.
pub(in crate::serve) type Translation = Rewriter<Box<dyn FnMut(&str) -> Option<String>>>;

/// A body on its way in.
pub(in crate::serve) type Inbound = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// The translation of a response with these headers; nothing if there is nothing to translate in it.
#[must_use]
pub(in crate::serve) fn of_response(
    headers: &HeaderMap,
    places: &'static [Place],
    store: &Rc<Store>,
) -> Option<Translation> {
    let store = Rc::clone(store);
    (!places.is_empty() && is_plain_json(headers))
        .then(|| Rewriter::new(places, Box::new(move |uri: &str| store.place.publish(uri)) as Box<_>))
}

/// The body of a request with these headers, public locations made real.
#[must_use]
pub(in crate::serve) fn of_request<S>(
    payload: S,
    headers: &HeaderMap,
    places: &'static [Place],
    store: &Rc<Store>,
) -> Inbound
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    if places.is_empty() || !is_plain_json(headers) {
        return Box::pin(payload);
    }
    let store = Rc::clone(store);
    let translation = Rewriter::new(places, move |uri: &str| store.place.resolve(uri));
    let pieces = stream::unfold((payload, Some(translation)), |(mut payload, translation)| async {
        let mut translation = translation?;
        match payload.next().await {
            Some(Ok(piece)) => Some((Ok(translation.push(piece)), (payload, Some(translation)))),
            Some(Err(error)) => Some((Err(error), (payload, None))),
            None => Some((Ok(translation.finish()), (payload, None))),
        }
    });
    Box::pin(pieces)
}

/// True for JSON that can be read as it comes. A client may leave the type out; MLflow's own says it.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|value| value.to_ascii_lowercase().trim_start().starts_with("application/json"));
    let is_plain = headers
        .get(header::CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|value| value.trim().eq_ignore_ascii_case("identity"));
    is_json && is_plain
}
