//! Opens one connection to an upstream: name, TCP, TLS, each with its own deadline and its own error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connections::Connections;
use super::read_ahead::ReadAhead;
use super::stream::{Io, Stream};
use super::tunnel::{self, TunnelError};
use crate::http::tls::{HTTP1, HTTP2};
use crate::proxy::{Proxies, Proxy};

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// An HTTPS endpoint on the standard port.
    #[must_use]
    pub fn https(host: impl Into<String>) -> Self {
        Self { tls: true, host: host.into(), port: 443 }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The endpoint as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// The value of `Host`: the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let bracketed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { bracketed } else { format!("{bracketed}:{}", self.port) }
    }
}

/// Why no connection came about. Nothing of any request has been sent then.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address accepted.
    #[error("cannot connect to `{authority}`")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the last address said.
        source: io::Error,
    },
    /// The peer is not who it should be, or does not speak TLS.
    #[error("TLS handshake with `{authority}` failed")]
    Tls {
        /// Host and port.
        authority: String,
        /// What was wrong.
        source: io::Error,
    },
    /// The proxy on the way did not lead there.
    #[error("the proxy `{proxy}` does not lead to `{authority}`")]
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
    /// True unless the reason is one that stays: another attempt may meet another address, or a better moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Timeout { .. } => true,
            Self::Proxy { source, .. } => source.may_pass(),
            // SECURITY: a stranger is not asked again until it guesses right; a connection that broke is.
            Self::Tls { source, .. } => {
                !source.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
            }
            Self::InvalidName(_) => false,
        }
    }
}

/// Which application protocols are offered in the TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2, or HTTP/1.1 if the upstream does not speak it.
    Http2,
}

/// Opens connections to one endpoint.
#[derive(Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    http1: TlsConnector,
    http2: TlsConnector,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    connections: Arc<Connections>,
    proxies: Proxies,
}

/// How long an address has to itself before the next one is tried beside it (RFC 8305 §8): of several, one that does
/// not even refuse must not use up the time for all.
const HEAD_START: Duration = Duration::from_millis(250);
/// A dead peer is noticed after this long, even if nothing but acknowledgements is missing.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(30);
/// Idle connections are probed this often, so that middleboxes keep them and lost peers are noticed.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

impl Dialer {
    /// A dialer for `endpoint` that trusts what `tls` trusts.
    ///
    /// `connect_timeout` covers name and TCP together, `handshake_timeout` covers TLS.
    #[must_use]
    pub fn new(endpoint: Endpoint, tls: &ClientConfig, connect_timeout: Duration, handshake_timeout: Duration) -> Self {
        let offering = |protocols: &[&[u8]]| {
            // A clone shares the session cache, so either offer resumes the other's sessions.
            let mut config = tls.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let (http1, http2) = (offering(&[HTTP1]), offering(&[HTTP2, HTTP1]));
        let (connections, proxies) = (Arc::default(), Proxies::default());
        Self { endpoint, http1, http2, connect_timeout, handshake_timeout, connections, proxies }
    }

    /// The same, to hosts that are not reached directly by way of a proxy.
    #[must_use]
    pub fn through(self, proxies: &Proxies) -> Self {
        Self { proxies: proxies.clone(), ..self }
    }

    /// The proxy by way of which the endpoint is reached. Only what is encrypted from here to there goes through one.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxies.to(&self.endpoint.host).filter(|_| self.endpoint.tls)
    }

    /// The same trust and deadlines for another endpoint; its connections count here, too.
    #[must_use]
    pub fn to(&self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self.clone() }
    }

    /// Where connections go.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The connections that this dialer and its copies have opened.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, offer: Offer) -> Result<Stream, DialError> {
        let opened = self.open(offer).await.inspect_err(|_| self.connections.fail())?;
        Ok(Stream::new(opened, self.connections.hold()))
    }

    async fn open(&self, offer: Offer) -> Result<Io, DialError> {
        let authority = || format!("{}:{}", self.endpoint.host, self.endpoint.port);
        let proxy = self.proxy();
        let timed_out = |step, limit| DialError::Timeout { step, authority: authority(), limit };
        let connected = async {
            match proxy {
                None => connect(&self.endpoint.host, self.endpoint.port).await,
                // Few are behind a proxy; the others' future need not be larger for it.
                Some(proxy) => Box::pin(tunnel::through(proxy, &self.endpoint)).await,
            }
        };
        let tcp = timeout(self.connect_timeout, connected).await.map_err(|_| match proxy {
            None => timed_out("connecting to", self.connect_timeout),
            Some(proxy) => DialError::Proxy {
                proxy: proxy.to_string(),
                authority: authority(),
                source: TunnelError::Timeout(self.connect_timeout),
            },
        })??;
        if !self.endpoint.tls {
            return Ok(Io::Plain(tcp));
        }
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|_| DialError::InvalidName(self.endpoint.host.clone()))?;
        let connector = match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
        };
        let stream = timeout(self.handshake_timeout, connector.connect(name, ReadAhead::new(tcp)))
            .await
            .map_err(|_| timed_out("the TLS handshake with", self.handshake_timeout))?
            .map_err(|source| DialError::Tls { authority: authority(), source })?;
        Ok(Io::Tls(Box::new(stream)))
    }
}

/// Opens a TCP connection.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|source| DialError::Resolve { host: host.to_owned(), source })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = addresses.fuse();
    let mut attempts = FuturesUnordered::new();
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        attempts.extend(next.map(TcpStream::connect));
        let ended = if is_last {
            attempts.next().await
        } else {
            // Those that are cut off here are still among the attempts.
            let Ok(ended) = timeout(HEAD_START, attempts.next()).await else { continue };
            ended
        };
        match ended {
            Some(Ok(stream)) => {
                tune(&stream);
                return Ok(stream);
            }
            Some(Err(error)) => last = error,
            None => break,
        }
    }
    Err(DialError::Connect { authority: format!("{host}:{port}"), source: last })
}

/// Options a proxy needs; a kernel that refuses one still gives a working connection.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(PROBE_INTERVAL).with_interval(PROBE_INTERVAL / 3);
    // Nagle would hold back the end of a request until the head is acknowledged.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
}
