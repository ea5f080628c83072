//! The protocols that a TLS handshake can agree on, by their names in the registry of RFC 7301.

/// HTTP/1.1.
pub const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2.
pub const HTTP2: &[u8] = b"h2";
