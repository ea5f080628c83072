//! A request as the server received it.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;

/// The parts of a request that a signature covers.
#[derive(Clone, Copy)]
pub(crate) struct ReceivedRequest<'a> {
    pub(crate) method: &'a str,
    /// The path as sent, still encoded.
    pub(crate) path: &'a str,
    /// The query as sent, still encoded; empty if there is none.
    pub(crate) query: &'a str,
    /// The authority, from `Host` or `:authority`.
    pub(crate) host: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// SHA-256 of the body that actually arrived.
    pub(crate) body_sha256: &'a [u8],
}

impl<'a> ReceivedRequest<'a> {
    /// Takes the parts from a request, unchanged.
    pub(crate) fn new(request: &'a HttpRequest, body_sha256: &'a [u8]) -> Self {
        let in_header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let in_target = request.uri().authority().map(Authority::as_str);
        Self {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            host: in_header.or(in_target).unwrap_or_default(),
            headers: request.headers(),
            body_sha256,
        }
    }
}
