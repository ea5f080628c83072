//! The reasons why an issuer's keys cannot be obtained.

use std::time::Duration;

use actix_web::http::StatusCode;

use crate::access::jwt::KeySetError;
use crate::http::client::ServiceClientError;

/// The reason why an issuer's keys cannot be obtained.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// There was no complete response.
    #[error("cannot fetch `{url}`")]
    Exchange {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: ServiceClientError,
    },
    /// The response took too long.
    #[error("`{url}` did not respond within {} s", .limit.as_secs())]
    Timeout {
        /// The address.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// A redirect, which is not followed, or an error.
    #[error("`{url}` responded with the status {status}{}", if .status.is_redirection() { ", and redirects are not followed" } else { "" })]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The answer is not a discovery document.
    #[error("the discovery document is not an object of JSON with an `issuer`")]
    NotDiscovery,
    /// The document describes another issuer.
    #[error("the discovery document is that of the issuer `{0}`, and `url` has to be exactly the same")]
    OtherIssuer(String),
    /// An address in the document is missing or unusable.
    #[error("`{name}` in the discovery document: {why}")]
    Location {
        /// The key in the document.
        name: &'static str,
        /// The problem.
        why: &'static str,
    },
    /// The keys are unusable.
    #[error("the key set at `{from}` is rejected: {source}")]
    Keys {
        /// The address or the file.
        from: String,
        /// The cause.
        source: KeySetError,
    },
    /// No key is for an algorithm that the issuer may use.
    #[error("the key set at `{0}` has no key for the `algorithms` of the issuer")]
    OtherAlgorithms(String),
    /// The file cannot be read.
    #[error("`{path}`: {source}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}
