//! A request to an upstream.

use actix_web::http::Method;

use crate::http::body::Body;
use crate::http::fields::Fields;

/// A request, ready to be sent as it is.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Path and query, in the exact form to send.
    pub target: &'a str,
    /// All headers including `Host`, without framing.
    pub headers: &'a Fields,
    /// The body.
    pub body: &'a Body,
}
