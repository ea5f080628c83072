//! The limits of a client.

use std::time::Duration;

/// The limits of a client. All are set on purpose; the defaults of the libraries beneath suit other uses.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// Connections in use at once, for HTTP/1.1; further requests wait.
    pub connection_limit: usize,
    /// A pooled connection that was idle for longer is closed. It has to be shorter than the upstream's own limit, so that no
    /// request is sent on a connection that the upstream is closing.
    pub keep_alive: Duration,
    /// A pooled connection older than this is closed, so that changes of the name's addresses are noticed.
    pub lifetime: Duration,
    /// The longest wait for progress until the head of the response is there.
    pub response_timeout: Duration,
    /// The longest time without a byte of the response's body.
    pub idle_timeout: Duration,
    /// True if HTTP/2 is offered to the upstream.
    pub http2: bool,
}
