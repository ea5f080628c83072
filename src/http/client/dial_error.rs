//! The reasons why no connection was opened.

use std::io;
use std::time::Duration;

/// The reason why no connection was opened. No byte of any request has been sent then.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No address accepted.
    #[error("cannot connect to `{authority}`")]
    Connect {
        /// Host and port.
        authority: String,
        /// The error of the last address.
        source: io::Error,
    },
    /// The peer's certificate is not trusted, or the peer does not speak TLS.
    #[error("the TLS handshake with `{authority}` failed")]
    Tls {
        /// Host and port.
        authority: String,
        /// The error of the handshake.
        source: io::Error,
    },
    /// The proxy on the way opened no connection to the endpoint.
    #[error("cannot reach `{authority}` through the proxy `{proxy}`")]
    Proxy {
        /// The proxy, without credentials.
        proxy: String,
        /// Host and port.
        authority: String,
        /// Its response, or the reason why it could not be asked.
        source: TunnelError,
    },
    /// One of the steps took too long.
    #[error("{step} `{authority}` took longer than {limit:?}")]
    Timeout {
        /// `connecting to` or `the TLS handshake with`.
        step: &'static str,
        /// Host and port.
        authority: String,
        /// The deadline that passed.
        limit: Duration,
    },
    /// The host can be resolved but not named in a certificate.
    #[error("`{0}` is not a valid host name")]
    InvalidName(String),
}

impl DialError {
    /// True unless the reason is permanent: another attempt may meet another address, or a better moment.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Timeout { .. } => true,
            Self::Proxy { source, .. } => source.is_temporary(),
            // SECURITY: a peer with a wrong certificate is not tried again; a connection that broke is.
            Self::Tls { source, .. } => {
                !source.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
            }
            Self::InvalidName(_) => false,
        }
    }
}

/// The reason why a proxy opened no connection to a host.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The proxy itself cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The proxy answered with an error.
    #[error("it answered {status}{reason}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The reason phrase that follows the status.
        reason: String,
    },
    /// The proxy ended the connection, or the connection broke.
    #[error("the connection to it ended")]
    Broken(#[source] io::Error),
    /// The server at the address is not an HTTP proxy.
    #[error("its response is not HTTP")]
    Invalid,
    /// Name, TCP and answer together took too long.
    #[error("it opened no connection within {0:?}")]
    Timeout(Duration),
}

impl TunnelError {
    /// True if another attempt may go better. What a proxy forbids, it forbids the next time as well.
    #[must_use]
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Timeout(_) => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::Invalid => false,
        }
    }
}
