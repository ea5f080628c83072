//! A pooled, streaming HTTP client for one upstream.
//!
//! It speaks HTTP/1.1, and HTTP/2 when the upstream offers it, over connections that `dial` opens. The first
//! connection asks, and the answer is remembered until an upstream changes its mind. One client belongs to one
//! worker thread: nothing in it is locked.

mod connections;
mod dial;
mod error;
mod http1;
mod http2;
mod peer;
mod places;
mod read_ahead;
mod response;
mod stream;
mod tunnel;

pub use connections::Connections;
pub use dial::{DialError, Dialer, Endpoint, Offer};
pub use error::ClientError;
pub use response::{BodyError, Response, ResponseBody};
pub use tunnel::TunnelError;

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use tokio::sync::Mutex;

use crate::http::body::Body;
use crate::http::fields::Fields;

/// Limits of a client. All are set on purpose; the defaults of the libraries beneath suit other uses.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// Connections in use at once, for HTTP/1.1; further requests wait.
    pub connection_limit: usize,
    /// A pooled connection unused for longer is closed: shorter than the upstream's own limit, so that a request
    /// never meets a connection that is just being closed.
    pub keep_alive: Duration,
    /// A pooled connection older than this is closed, so that changes of the name's addresses are noticed.
    pub lifetime: Duration,
    /// The longest wait for progress until the head of the response is there.
    pub response_timeout: Duration,
    /// The longest silence in the body of the response.
    pub idle_timeout: Duration,
    /// Whether HTTP/2 is offered to the upstream.
    pub http2: bool,
}

impl ClientSettings {
    /// For a client that makes one exchange, and waits no longer than this for anything in it.
    #[must_use]
    pub fn for_one_exchange(limit: Duration) -> Self {
        Self {
            connection_limit: 1,
            keep_alive: Duration::ZERO,
            lifetime: limit,
            response_timeout: limit,
            idle_timeout: limit,
            http2: false,
        }
    }
}

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

/// The client.
pub struct Client {
    http1: http1::Http1,
    http2: http2::Http2,
    protocol: Cell<Protocol>,
    asking: Mutex<()>,
    /// When the last one who asked got no connection.
    failed: Cell<Option<Instant>>,
    settings: ClientSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

impl Client {
    /// A client for the dialer's endpoint. Must be used on the thread, within the actix runtime, that made it.
    #[must_use]
    pub fn new(dialer: Dialer, settings: ClientSettings) -> Self {
        let may_speak_http2 = settings.http2 && dialer.endpoint().tls;
        Self {
            http1: http1::Http1::new(dialer.clone(), &settings),
            http2: http2::Http2::new(dialer, &settings),
            protocol: Cell::new(if may_speak_http2 { Protocol::Unknown } else { Protocol::Http1 }),
            asking: Mutex::new(()),
            failed: Cell::new(None),
            settings,
        }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// [`ClientError`], which says whether the upstream may have seen the request.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, ClientError> {
        let outgoing = request.body.outgoing();
        let progress = outgoing.progress();
        let exchange = async {
            match self.protocol().await? {
                Protocol::Http2 => Box::pin(self.http2.send(request, outgoing)).await,
                Protocol::Http1 | Protocol::Unknown => self.http1.send(request, outgoing).await,
            }
        };
        // A large upload may take long; only one that no longer moves has failed.
        let mut exchange = std::pin::pin!(exchange);
        let mut sent = progress.bytes();
        loop {
            match tokio::time::timeout(self.settings.response_timeout, exchange.as_mut()).await {
                Ok(Ok(response)) => return Ok(response.with_idle_timeout(self.settings.idle_timeout)),
                Ok(Err(error)) => return Err(error),
                Err(_) if progress.bytes() > sent || progress.waits_for_caller() => sent = progress.bytes(),
                Err(_) => return Err(ClientError::NoAnswer(self.settings.response_timeout)),
            }
        }
    }

    /// Which protocol to speak; asks the upstream if that is not known, one asker at a time.
    async fn protocol(&self) -> Result<Protocol, ClientError> {
        if self.protocol.get() == Protocol::Http1 || self.http2.has_connection() {
            return Ok(self.protocol.get());
        }
        Box::pin(self.ask()).await
    }

    async fn ask(&self) -> Result<Protocol, ClientError> {
        let began = Instant::now();
        let mut asking = Some(self.asking.lock().await);
        if self.protocol.get() == Protocol::Http1 || self.http2.has_connection() {
            return Ok(self.protocol.get());
        }
        if self.failed.get().is_some_and(|failed| failed >= began) {
            // Those who have waited for a failure try for themselves now: in turn, the last would wait for all others.
            asking = None;
        }
        let stream = self.http2.dial().await.inspect_err(|_| self.failed.set(Some(Instant::now())))?;
        if asking.is_none() && self.http2.has_connection() {
            return Ok(self.protocol.get());
        }
        let protocol = if stream.speaks_http2() {
            self.http2.adopt(stream).await?;
            Protocol::Http2
        } else {
            self.http1.adopt(stream);
            Protocol::Http1
        };
        self.protocol.set(protocol);
        Ok(protocol)
    }
}
