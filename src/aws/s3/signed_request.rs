//! A signed request to S3, ready to be sent.

use super::chunks::ChunkSigner;

/// A request to send exactly as it is.
pub struct SignedS3Request {
    /// The method.
    pub method: &'static str,
    /// Path and query; the signature is in it, so it is a secret for as long as it holds.
    pub target: String,
    /// Headers that are part of the signature, by lower-case name.
    pub headers: Vec<(&'static str, String)>,
    /// The body, where the operation and not the caller decides it.
    pub body: Option<String>,
    /// The signer of the body's chunks, if the body is sent in chunks.
    pub chunks: Option<ChunkSigner>,
}
