//! The forms of pages for people: they sign in with one, and make and revoke tokens.

use std::time::Duration;

use actix_web::web;
use bytes::Bytes;
use url::form_urlencoded;

use crate::http::body::{BodyLimits, BodyOwner, RequestBodyError, Timing, buffer};

/// The limit of a form with a token and a path, or with the names of all targets. Bytes.
const LIMIT: u64 = 16 * 1024;
/// SECURITY: unauthenticated clients send a form, and hold a connection meanwhile. A browser sends it in one piece.
const TIMING: Timing = Timing { idle_timeout: Duration::from_secs(10), total: Duration::from_secs(10) };

/// A form that has been received.
pub(crate) struct Form(Bytes);

impl Form {
    /// Receives a form whose memory counts for `body_owner`. Returns nothing if there is no memory for it.
    ///
    /// # Errors
    /// [`RequestBodyError`] if it does not arrive, or is too large.
    pub(crate) async fn receive(
        payload: web::Payload,
        body_limits: &BodyLimits,
        body_owner: &BodyOwner,
    ) -> Result<Option<Self>, RequestBodyError> {
        let limits = BodyLimits { size_limit: LIMIT, memory_limit: LIMIT, timing: TIMING, ..body_limits.clone() };
        let received = buffer(payload, None, &limits, body_owner).await?;
        Ok(received.body.bytes().cloned().map(Self))
    }

    /// Returns a field; an empty text, if there is none of this name.
    pub(crate) fn field(&self, name: &str) -> String {
        self.fields(name).next().unwrap_or_default()
    }

    /// Returns all fields of this name.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        form_urlencoded::parse(&self.0).filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}
