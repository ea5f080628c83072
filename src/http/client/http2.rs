//! HTTP/2 to an upstream that offers it: few connections, many requests on each.
//!
//! This drives `h2` itself; the head of [`super`] says why it is not `awc`.

mod drive;
mod upload;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody as _};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::rt;
use bytes::Bytes;
use futures_util::future::{Either, select};
use h2::SendStream;
use h2::client::SendRequest;
use http::Version;
use tokio::sync::{Mutex, Notify};

use super::connection_permits::{ConnectionPermit, ConnectionPermits};
use super::dial::{Dialer, Offer};
use super::error::ClientError;
use super::peer::{Peer, Watched, size};
use super::request::Request;
use super::settings::ClientSettings;
use super::stream::UpstreamStream;

use crate::http::body::Outgoing;
use drive::drive;
use upload::send_body;

/// The number of bytes that an upstream may send ahead of the caller's reads.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all requests on a connection.
///
/// SECURITY: it is as large as the windows of all its streams together. With less, a few callers that do not read would leave
/// nothing to the others on the connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
/// Header fields of an answer. `h2` counts them before it makes a map of them, which would not bear tens of thousands.
/// Bytes, as HTTP/2 counts them.
const HEADER_LIST_LIMIT: u32 = 128 * 1024;
const _: () = assert!(CONNECTION_WINDOW as usize == STREAM_WINDOW as usize * REQUESTS_PER_CONNECTION);
/// Requests on one connection before another is opened, unless the upstream allows fewer; RFC 9113 §6.5.2 recommends that
/// none allow fewer than 100.
const REQUESTS_PER_CONNECTION: usize = 100;
/// Connections for one worker, unless so many requests are allowed that they need more.
const CONNECTION_LIMIT: usize = 8;
/// An HTTP/2 client with its connections.
pub(super) struct Http2 {
    dialer: Dialer,
    keep_alive: Duration,
    lifetime: Duration,
    connections: RefCell<Vec<Rc<Http2Connection>>>,
    dialing: Mutex<()>,
    /// The time when a connection was last dialed in vain.
    failed: Cell<Option<Instant>>,
    /// Notified when a request has ended.
    freed: Rc<Notify>,
    permits: ConnectionPermits,
    /// The number of connections that are opened at most.
    limit: usize,
    /// The number of requests that the upstream takes on one connection.
    streams: Cell<usize>,
}

/// The head of a response, and what its body is read from.
pub(super) struct Http2Response {
    pub(super) head: http::response::Parts,
    pub(super) body: h2::RecvStream,
    pub(super) lease: Lease,
    /// The method of the request, which decides how the response is framed.
    pub(super) method: Method,
}

/// One connection. Each request on it holds a clone of the `Rc`, which counts them.
pub(super) struct Http2Connection {
    sender: SendRequest<Bytes>,
    peer: Rc<Peer>,
    opened: Instant,
    last_used: Cell<Instant>,
    freed: Rc<Notify>,
}

impl Http2Connection {
    fn in_use(self: &Rc<Self>) -> usize {
        Rc::strong_count(self) - 1
    }
}

impl Http2 {
    pub(super) fn new(dialer: Dialer, settings: &ClientSettings) -> Self {
        let limit = settings.connection_limit.div_ceil(REQUESTS_PER_CONNECTION).max(CONNECTION_LIMIT);
        Self {
            dialer,
            keep_alive: settings.keep_alive,
            lifetime: settings.lifetime,
            connections: RefCell::default(),
            dialing: Mutex::new(()),
            failed: Cell::default(),
            freed: Rc::default(),
            permits: ConnectionPermits::new(limit.saturating_mul(REQUESTS_PER_CONNECTION)),
            limit,
            streams: Cell::new(REQUESTS_PER_CONNECTION),
        }
    }

    /// The number of requests that do not wait for each other. An upstream that allows few on a connection lowers it.
    pub(super) fn request_limit(&self) -> usize {
        self.limit.saturating_mul(self.streams.get())
    }

    /// Opens a connection, offering both protocols.
    pub(super) async fn dial(&self) -> Result<UpstreamStream, ClientError> {
        Ok(self.dialer.dial(Offer::Http2).await?)
    }

    /// Starts HTTP/2 on a connection that has agreed to it.
    pub(super) async fn adopt(&self, stream: UpstreamStream) -> Result<(), ClientError> {
        let peer = Rc::new(Peer::default());
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_LIMIT)
            .enable_push(false)
            .handshake::<_, Bytes>(Watched::new(stream, Rc::clone(&peer)))
            .await?;
        let pings = connection.ping_pong().expect("asked for once");
        rt::spawn(drive(connection, pings));
        let now = Instant::now();
        let freed = Rc::clone(&self.freed);
        let shared = Http2Connection { sender, peer, opened: now, last_used: Cell::new(now), freed };
        self.connections.borrow_mut().push(Rc::new(shared));
        Ok(())
    }

    /// True if there is a usable connection. Dead and stale connections are removed; a stale one closes when its last
    /// request is done.
    pub(super) fn has_connection(&self) -> bool {
        let now = Instant::now();
        self.connections.borrow_mut().retain(|connection| {
            let idle = connection.in_use() == 0 && now - connection.last_used.get() > self.keep_alive;
            !idle && now - connection.opened <= self.lifetime && is_alive(connection)
        });
        !self.connections.borrow().is_empty()
    }

    pub(super) async fn send(&self, request: &Request<'_>, body: Outgoing) -> Result<Http2Response, ClientError> {
        let permit = self.permits.take().await?;
        let connection = self.connection().await?;
        connection.last_used.set(Instant::now());
        let mut sender = connection.sender.clone();
        let mut lease = Lease { connection, upload: None, _permit: permit };
        let method = request.method.clone();
        let (head, at_end) = self.head(request, body.size())?;
        let size = size(&head);
        let limit = lease.connection.peer.limit(size).await;
        if size > limit {
            return Err(ClientError::HeadTooLarge { size, limit });
        }
        let (answer, mut upload) = sender.send_request(head, at_end)?;
        if at_end {
            let (head, body) = answer.await?.into_parts();
            return Ok(Http2Response { head, body, lease, method });
        }
        let mut answer = pin!(answer);
        let (early, is_sent) = {
            let sending = pin!(send_body(body, &mut upload));
            match select(answer.as_mut(), sending).await {
                Either::Left((early, _)) => (Some(early?), false),
                Either::Right((Err(error @ ClientError::Body(_)), _)) => return Err(error),
                // If the upstream stopped taking the body, the answer says why.
                Either::Right((sent, _)) => (None, sent.is_ok()),
            }
        };
        let answer = match early {
            Some(answer) => answer,
            None => answer.await?,
        };
        lease.upload = (!is_sent).then_some(upload);
        let (head, body) = answer.into_parts();
        Ok(Http2Response { head, body, lease, method })
    }

    /// The connection to use: one with room, else a new one, else the one with the fewest requests.
    async fn connection(&self) -> Result<Rc<Http2Connection>, ClientError> {
        if let Some(connection) = self.with_room() {
            return Ok(connection);
        }
        let began = Instant::now();
        let _dialing = loop {
            // One request at a time dials, which can take long. The others need not wait for it where room comes free.
            match select(pin!(self.dialing.lock()), pin!(self.freed.notified())).await {
                Either::Left((dialing, _)) => break dialing,
                Either::Right(_) => {}
            }
            if let Some(connection) = self.with_room() {
                return Ok(connection);
            }
        };
        if let Some(connection) = self.with_room() {
            return Ok(connection);
        }
        // Requests that have waited for a failure do not dial one after the other, or the last would wait for all others.
        let is_vain = self.failed.get().is_some_and(|failed| failed >= began);
        let is_full = self.connections.borrow().len() >= self.limit;
        let has_other = (is_vain || is_full) && self.least_used().is_some();
        let dialed = if has_other { Ok(()) } else { self.open().await };
        // If none could be added, the request waits on one for the others there, which are served.
        match (self.least_used(), dialed) {
            (Some(least), _) => Ok(least),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(ClientError::Closed),
        }
    }

    fn least_used(&self) -> Option<Rc<Http2Connection>> {
        let connections = self.connections.borrow();
        let alive = connections.iter().filter(|connection| is_alive(connection));
        alive.min_by_key(|connection| connection.in_use()).map(Rc::clone)
    }

    /// Opens another connection. The caller has the lock.
    async fn open(&self) -> Result<(), ClientError> {
        let opened = async { self.adopt(self.dial().await?).await };
        opened.await.inspect_err(|_| self.failed.set(Some(Instant::now())))
    }

    fn with_room(&self) -> Option<Rc<Http2Connection>> {
        let connections = self.connections.borrow();
        let has_room = |connection: &&Rc<Http2Connection>| {
            // All connections lead to one upstream, so a new one is taken to allow as much as the last that has said so.
            if let Some(streams) = connection.peer.streams() {
                self.streams.set(streams.clamp(1, REQUESTS_PER_CONNECTION));
            }
            connection.in_use() < self.streams.get() && is_alive(connection)
        };
        connections.iter().find(has_room).map(Rc::clone)
    }

    fn head(&self, request: &Request<'_>, size: BodySize) -> Result<(http::Request<()>, bool), ClientError> {
        let endpoint = self.dialer.endpoint();
        let invalid = |error: http::Error| ClientError::Invalid(Box::new(error));
        let mut head = http::Request::builder()
            .method(request.method.clone())
            .uri(format!("{}://{}{}", endpoint.scheme(), endpoint.authority(), request.target))
            .version(Version::HTTP_2)
            .body(())
            .map_err(invalid)?;
        for (name, value) in request.headers {
            head.headers_mut().append(name.clone(), value.clone());
        }
        // `:authority` carries it.
        head.headers_mut().remove(header::HOST);
        if let BodySize::Sized(length) = size {
            head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok((head, matches!(size, BodySize::None | BodySize::Sized(0))))
    }
}

/// The values that a response keeps until its body has ended: its permit, and the sending half of a stream that was answered
/// early, because dropping that half would reset the stream and lose the response.
pub(super) struct Lease {
    connection: Rc<Http2Connection>,
    /// The sending half of a stream that was answered before the upload was complete.
    upload: Option<SendStream<Bytes>>,
    _permit: ConnectionPermit,
}

impl Lease {
    /// True if the answer came before the upload was complete.
    pub(super) fn has_upload(&self) -> bool {
        self.upload.is_some()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.last_used.set(Instant::now());
        // The request that is woken looks only after this one is gone.
        self.connection.freed.notify_one();
    }
}

fn is_alive(connection: &Http2Connection) -> bool {
    let mut sender = connection.sender.clone();
    let mut context = Context::from_waker(Waker::noop());
    // A fresh clone waits for nothing: it is ready, or the connection has failed.
    matches!(sender.poll_ready(&mut context), Poll::Ready(Ok(())))
}
