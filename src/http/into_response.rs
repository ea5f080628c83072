//! Turns an upstream's response into the client's, with the same framing.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Builds a response with exactly these headers and this body, whose size decides the framing.
///
/// `announced` is the upstream's `Content-Length`: a 304 carries the length of a body that is not sent.
#[must_use]
pub fn into_response<B>(status: StatusCode, mut headers: HeaderMap, announced: Option<u64>, body: B) -> HttpResponse
where
    B: MessageBody + 'static,
{
    if let (StatusCode::NOT_MODIFIED, Some(length)) = (status, announced) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    // The body is boxed first, since each layer of a response would move it.
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    *response.headers_mut() = headers;
    response
}
