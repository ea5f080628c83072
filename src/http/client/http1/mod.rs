//! HTTP/1.1 to an upstream: one request at a time on each of a pool of connections.
//!
//! Heads and chunks are read by actix-http's codec, the one beneath `awc`; the head of [`super`] says why it is not `awc`.

mod body;
mod connection;
mod pool;

pub(super) use body::Http1Body;

use std::rc::Rc;
use std::time::Duration;

use actix_http::ServiceConfig;
use actix_web::body::BodySize;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::rt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::connection_permits::ConnectionPermits;
use super::dial::{Dialer, Offer};
use super::error::ClientError;
use super::framing;
use super::request::Request;
use super::settings::ClientSettings;
use super::stream::UpstreamStream;
use crate::http::body::Outgoing;
use crate::http::headers::content_length;
use body::Framing;
use connection::Http1Connection;
use pool::Pool;

/// Connections that are opened at once. Handshakes are work, and the more of them at a time, the later all of them end.
const DIALS: usize = 8;
/// The longest wait of a request for its turn to open one, since the requests before it may get no answer.
const TURN: Duration = Duration::from_millis(100);

/// The head of a response, and its body.
pub(super) struct Http1Response {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// The announced length of the body. Bytes.
    pub(super) announced: Option<u64>,
    pub(super) size: BodySize,
    pub(super) body: Http1Body,
}

/// An HTTP/1.1 client with its pool.
pub(super) struct Http1 {
    dialer: Dialer,
    pool: Rc<Pool>,
    permits: ConnectionPermits,
    dials: Semaphore,
    /// The codec needs a configuration, which has a clock, so one serves all connections.
    codec: ServiceConfig,
}

impl Http1 {
    pub(super) fn new(dialer: Dialer, settings: &ClientSettings) -> Self {
        let pool = Rc::new(Pool::new(settings.keep_alive, settings.lifetime));
        if !settings.keep_alive.is_zero() {
            // Idle connections are closed even if no request comes any more.
            let interval = (settings.keep_alive / 2).max(Duration::from_secs(1));
            rt::spawn(Pool::keep_swept(Rc::downgrade(&pool), interval));
        }
        Self {
            dialer,
            pool,
            permits: ConnectionPermits::new(settings.connection_limit),
            dials: Semaphore::new(DIALS),
            codec: ServiceConfig::default(),
        }
    }

    /// Puts an open connection to use.
    pub(super) fn adopt(&self, stream: UpstreamStream) {
        self.pool.put(Http1Connection::new(stream));
    }

    /// Waits until a connection is returned, or until this request may open one, whichever is first. The requests
    /// before it may get no answer, so after a while every request may open one.
    async fn next_or_turn(&self) -> Result<Http1Connection, Option<SemaphorePermit<'_>>> {
        tokio::select! {
            biased;
            Some(connection) = self.pool.next() => Ok(connection),
            turn = timeout(TURN, self.dials.acquire()) => Err(turn.ok().and_then(Result::ok)),
        }
    }

    async fn connect(&self) -> Result<Http1Connection, ClientError> {
        let turn = match self.dials.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => match Box::pin(self.next_or_turn()).await {
                Ok(connection) => return Ok(connection),
                Err(turn) => turn,
            },
        };
        let stream = Box::pin(self.dialer.dial(Offer::Http1)).await?;
        drop(turn);
        Ok(Http1Connection::new(stream))
    }

    pub(super) async fn send(&self, request: &Request<'_>, body: &mut Outgoing) -> Result<Http1Response, ClientError> {
        let permit = self.permits.take().await?;
        let mut connection = match self.pool.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let (mut head, codec, is_sent) = connection.exchange(request, body, &self.codec).await?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // No request asks for that, since `Upgrade` is not forwarded. Callers of HTTP/1.0 and HTTP/2 cannot use it.
            return Err(ClientError::Invalid("the upstream switches protocols without being asked to".into()));
        }
        let is_reusable = is_sent && head.keep_alive();
        let (status, version) = (head.status, head.version);
        let headers = std::mem::take(head.headers_mut());
        // Chunks win over a length (RFC 9112 §6.3).
        let is_chunked = is_chunked(version, &headers)?;
        let announced = if is_chunked { None } else { content_length(&headers) };
        let size = framing::size(&request.method, status, announced);
        let framing = match size {
            _ if request.method == Method::HEAD => Framing::Length(0),
            BodySize::None => Framing::Length(0),
            BodySize::Sized(length) => Framing::Length(length),
            BodySize::Stream if is_chunked => Framing::Chunked(codec.into_payload_codec()),
            BodySize::Stream => Framing::Close,
        };
        let body = Http1Body::new(connection, framing, is_reusable.then(|| Rc::clone(&self.pool)), permit);
        Ok(Http1Response { status, version, headers, announced, size, body })
    }
}

/// Returns true if the body comes in chunks.
///
/// The codec ignores `identity`, and any coding over HTTP/1.0, where none is defined (RFC 9112 §6.1). So it has no decoder for such
/// a body, and panics if it is asked for one.
fn is_chunked(version: Version, headers: &HeaderMap) -> Result<bool, ClientError> {
    let Some(coding) = headers.get(header::TRANSFER_ENCODING) else { return Ok(false) };
    let is_chunked = coding.to_str().is_ok_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    if is_chunked && version == Version::HTTP_11 {
        return Ok(true);
    }
    Err(ClientError::Invalid("the response has a `Transfer-Encoding` other than `chunked`, or over HTTP/1.0".into()))
}
