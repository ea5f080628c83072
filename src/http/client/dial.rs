//! Opens one connection to an upstream: name and TCP, then TLS, each with its own deadline and its own error.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connections::{ConnectionCounts, EndpointCounts};
use super::dial_error::{DialError, TunnelError};
use super::endpoint::Endpoint;
use super::read_ahead::ReadAhead;
use super::stream::{Io, UpstreamStream};
use super::tcp;
use super::tunnel;
use crate::http::tls::{HTTP1, HTTP2};
use crate::proxy::{Proxies, Proxy};

/// The application protocols that are offered in the TLS handshake.
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
    connections: Arc<ConnectionCounts>,
    counts: Arc<EndpointCounts>,
    proxies: Proxies,
}

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
        let (counts, proxies) = (Arc::<EndpointCounts>::default(), Proxies::default());
        let connections = counts.of(&endpoint);
        Self { endpoint, http1, http2, connect_timeout, handshake_timeout, connections, counts, proxies }
    }

    /// Uses a proxy for hosts that are not reached directly.
    #[must_use]
    pub fn through(self, proxies: &Proxies) -> Self {
        Self { proxies: proxies.clone(), ..self }
    }

    /// The proxy through which the endpoint is reached. Only TLS connections go through one.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxies.to(&self.endpoint.host).filter(|_| self.endpoint.tls)
    }

    /// A dialer for another endpoint with the same trust, proxies and deadlines.
    #[must_use]
    pub fn to(&self, endpoint: Endpoint) -> Self {
        Self { connections: self.counts.of(&endpoint), endpoint, ..self.clone() }
    }

    /// True if a connection of one dialer can stand for one of the other: endpoint, trust and proxy are the same.
    ///
    /// SECURITY: two dialers that trust different authorities share no connection, even to the same endpoint.
    #[must_use]
    pub fn is_interchangeable_with(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && Arc::ptr_eq(self.http1.config(), other.http1.config())
            && self.proxy() == other.proxy()
    }

    /// The endpoint that connections lead to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The connections that this dialer, its copies and those for other endpoints have opened.
    #[must_use]
    pub fn counts(&self) -> &EndpointCounts {
        &self.counts
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, offer: Offer) -> Result<UpstreamStream, DialError> {
        let opened = self.open(offer).await.inspect_err(|_| self.connections.fail())?;
        Ok(UpstreamStream::new(opened, self.connections.hold()))
    }

    async fn open(&self, offer: Offer) -> Result<Io, DialError> {
        let authority = || format!("{}:{}", self.endpoint.host, self.endpoint.port);
        let proxy = self.proxy();
        let timed_out = |step, limit| DialError::Timeout { step, authority: authority(), limit };
        let connected = async {
            match proxy {
                None => tcp::connect(&self.endpoint.host, self.endpoint.port).await,
                // Boxed, since proxies are rare and would make every connection's future larger.
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
            return Ok(Io::Left(tcp));
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
        Ok(Io::Right(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialers_are_interchangeable_if_endpoint_trust_and_proxy_are_the_same() {
        let limit = Duration::from_secs(1);
        // The system's own authorities are not there where Nix builds.
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let one = Dialer::new(Endpoint::https("a.example"), &tls, limit, limit);
        assert!(one.is_interchangeable_with(&one.clone()));
        assert!(one.is_interchangeable_with(&one.to(Endpoint::https("b.example")).to(Endpoint::https("a.example"))));
        for (different, to) in [
            ("the host", one.to(Endpoint::https("b.example"))),
            ("the port", one.to(Endpoint { port: 8443, ..Endpoint::https("a.example") })),
            ("the scheme", one.to(Endpoint { tls: false, ..Endpoint::https("a.example") })),
            ("the trust", Dialer::new(Endpoint::https("a.example"), &tls, limit, limit)),
        ] {
            assert!(!one.is_interchangeable_with(&to), "{different} differs");
        }
    }
}
