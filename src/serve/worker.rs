//! What one worker thread needs for a request, made once per thread so that no request locks or formats it.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;

use super::Shared;
use crate::aws::sigv4::Signer;
use crate::http::body::Intake;
use crate::http::client::{Client, ClientSettings, Dialer};

/// A worker's own upstream connections and prepared values.
pub(super) struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Upstream connections.
    pub client: Client,
    /// Signs with the day's key, which it keeps.
    pub(super) signer: Signer,
    /// How bodies are taken in.
    pub intake: Intake,
    /// Scheme and authority of the upstream.
    pub base: String,
    /// The authority alone, as signed in `Host`.
    pub authority: String,
    /// The same as a header value.
    pub host_value: HeaderValue,
    /// The target's ARN as a header value.
    pub arn_value: HeaderValue,
}

impl Worker {
    /// Prepares a worker on the thread that will use it.
    #[must_use]
    pub(super) fn new(shared: Arc<Shared>, dialer: Dialer, client: ClientSettings, intake: Intake) -> Self {
        let authority = dialer.endpoint().authority();
        let value = |text: &str| HeaderValue::try_from(text).expect("hosts and ARNs were checked when parsed");
        Self {
            base: format!("{}://{authority}", dialer.endpoint().scheme()),
            host_value: value(&authority),
            arn_value: value(shared.target.arn().as_str()),
            signer: Signer::new(shared.target.arn().region(), shared.target.signing_name()),
            authority,
            client: Client::new(dialer, client),
            intake,
            shared,
        }
    }
}
