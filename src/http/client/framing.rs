//! The framing of a response's body.

use actix_web::body::BodySize;
use actix_web::http::{Method, StatusCode};

/// The framing of a response's body when it is streamed to the client.
pub(super) fn size(method: &Method, status: StatusCode, announced: Option<u64>) -> BodySize {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    match announced {
        _ if bodiless => BodySize::None,
        Some(length) => BodySize::Sized(length),
        // A response to HEAD may announce a length, and no body follows; without a length nothing is announced.
        None if *method == Method::HEAD => BodySize::None,
        None => BodySize::Stream,
    }
}
