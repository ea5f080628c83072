//! Two HTTP clients over the same connections: [`Client`] carries callers' requests, and [`ServiceClient`] makes the requests of
//! the appliance itself.
//!
//! The second one is `awc`. It is not fit for callers' requests, for these reasons, the strongest first:
//!
//! - It takes a truncated body for a complete one, so that half an artifact would be a whole one, and a body of HTTP/1.1 that ends
//!   with its connection for none. ([`ServiceClient`] reads bodies whole, over a connection whose end is an error.)
//! - It sends a request to its end before it reads the response, so an early rejection of an upload is lost.
//! - It returns an interim response as the response.
//! - It ends an HTTP/2 connection with an unsigned `GET /`.
//! - It waits for a free connection without a limit, and makes a codec with a clock, a task and a timer for every request.
//!
//! [`Client`] is a pooled, streaming client for one upstream. It speaks HTTP/1.1, and HTTP/2 when the upstream offers it. The
//! first connection finds out, and the result is remembered until an upstream changes its mind. One client belongs to one worker
//! thread, so nothing in it is locked. All targets behind one endpoint share it (`serve/upstream/endpoints`).

mod connection_permits;
mod connections;
mod dial;
mod dial_error;
mod endpoint;
mod error;
mod framing;
mod http1;
mod http2;
mod peer;
mod read_ahead;
mod request;
mod response;
mod service;
mod service_connector;
mod settings;
mod stream;
mod tcp;
mod timers;
mod tunnel;

pub use connection_permits::CONNECTION_WAIT;
pub use connections::{ConnectionCounts, EndpointCounts};
pub use dial::{Dialer, Offer};
pub use dial_error::{DialError, TunnelError};
pub use endpoint::Endpoint;
pub use error::{BodyError, ClientError};
pub use request::Request;
pub use response::{Response, ResponseBody};
pub use service::{ServiceClient, ServiceClientError, ServiceLimits, ServiceResponse};
pub use settings::ClientSettings;

use std::cell::Cell;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::http::body::{Body, Outgoing, Progress};
use timers::{NoProgress, ResponseTimers};

/// The client.
pub struct Client {
    http1: http1::Http1,
    http2: http2::Http2,
    protocol: Cell<Protocol>,
    asking: Mutex<()>,
    /// The time when the last request that asked got no connection.
    failed: Cell<Option<Instant>>,
    timers: ResponseTimers,
    settings: ClientSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// A body that is to be sent, and how much of it is.
///
/// A function of its own, since a future keeps room for what it has lent, even after it has moved it into another.
fn begun(body: &Body) -> (Outgoing, Progress) {
    let outgoing = body.outgoing();
    let progress = outgoing.progress();
    (outgoing, progress)
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
            timers: ResponseTimers::new(settings.response_timeout),
            settings,
        }
    }

    /// The number of requests that can be under way without waiting for each other.
    #[must_use]
    pub fn request_limit(&self) -> usize {
        if self.protocol.get() == Protocol::Http2 { self.http2.request_limit() } else { self.settings.connection_limit }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// [`ClientError`], which says whether the upstream may have seen the request.
    pub async fn send(&self, request: Request<'_>) -> Result<Box<Response>, ClientError> {
        let (mut outgoing, progress) = begun(request.body);
        let exchange = async {
            let protocol = self.protocol().await?;
            match protocol {
                Protocol::Http2 => Box::pin(self.http2.send(&request, outgoing)).await.map(Response::from_http2),
                Protocol::Http1 | Protocol::Unknown => {
                    self.http1.send(&request, &mut outgoing).await.map(Response::from_http1)
                }
            }
        };
        match self.timers.limit(std::pin::pin!(exchange), &progress).await {
            Ok(response) => Ok(response?.with_idle_timeout(self.settings.idle_timeout)),
            Err(NoProgress) => Err(ClientError::NoAnswer(self.settings.response_timeout)),
        }
    }

    /// Returns the protocol to speak. If that is not known, one request at a time asks the upstream.
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
            // Requests that have waited for a failure now try for themselves: one after the other, the last would wait for
            // all others.
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
