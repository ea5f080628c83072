//! Makes an upstream's response one of ours, framing intact.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// A response with exactly these headers and this body, whose size says how it is framed.
///
/// `announced` is the upstream's `Content-Length`: a 304 passes on the length of what it does not send.
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
