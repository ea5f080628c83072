//! HTTP/2 with callers: `h2` with limits, and the way of an answer to its stream.
//!
//! actix-http's own lets a caller open any number of streams, each with 16 MiB of header fields, waits for ever for room
//! to send, and goes on with a request whose caller has cancelled it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header::{self, HeaderValue};
use actix_http::{HttpMessage as _, Method, Payload, Request, Response, ResponseHead, StatusCode};
use actix_service::Service;
use actix_web::dev::Extensions;
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;

/// Requests of one connection at a time; RFC 9113 §6.5.2 recommends no fewer.
const STREAM_LIMIT: u32 = 100;
/// Header fields of one request, as they count for HTTP/2. `h2` answers 431 to more, and keeps none of it. Above what is
/// served, so that what is a little too much becomes a refusal on record. Bytes.
///
/// SECURITY: a field that the peer remembers costs one byte on the wire, so that a megabyte becomes many here.
const HEADER_LIST_LIMIT: u32 = 64 * 1024;
/// A caller may send this much ahead of what is read, on one stream and on a connection. Bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// The most that is kept of one response until its caller reads it. Bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Settings for callers that speak HTTP/2.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The longest time that the handshake may take.
    pub(crate) head_timeout: Duration,
    /// The interval of pings, and the longest time that a caller may take to answer one.
    pub(crate) keep_alive: Duration,
    /// How long a caller may take nothing of an answer.
    pub(crate) send_timeout: Duration,
    /// Tells that connections are to end with the requests that run on them.
    pub(crate) drain: CancellationToken,
}

/// Serves a connection until it ends; `data` is what its requests know of it.
pub(crate) async fn serve<T, S>(io: T, service: &Rc<S>, data: &Rc<Extensions>, peer: SocketAddr, settings: &Settings)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Error: Into<Response<BoxBody>>,
{
    let handshake = Builder::new()
        .max_concurrent_streams(STREAM_LIMIT)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake::<_, Bytes>(io);
    let Ok(Ok(mut connection)) = timeout(settings.head_timeout, handshake).await else {
        debug!("a caller's connection does not begin as HTTP/2");
        return;
    };
    let pings = connection.ping_pong().expect("asked for once");
    tokio::select! {
        () = accept(&mut connection, service, data, peer, settings) => {}
        () = silence(pings, settings.keep_alive) => debug!("ending a connection whose caller answers no ping"),
    }
}

async fn accept<T, S>(
    connection: &mut Connection<T, Bytes>,
    service: &Rc<S>,
    data: &Rc<Extensions>,
    peer: SocketAddr,
    settings: &Settings,
) where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Error: Into<Response<BoxBody>>,
{
    let mut is_draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = settings.drain.cancelled(), if !is_draining => {
                connection.graceful_shutdown();
                is_draining = true;
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let is_head = request.method() == Method::HEAD;
        let request = ours(request, data, peer);
        let (service, send_timeout) = (Rc::clone(service), settings.send_timeout);
        spawn_local(async move {
            if let Err(error) = exchange(&*service, request, is_head, respond, send_timeout).await {
                debug!(%error, "an answer did not reach its caller");
            }
        });
    }
}

/// Resolves when the caller no longer answers.
async fn silence(mut pings: PingPong, limit: Duration) {
    loop {
        sleep(limit).await;
        if !matches!(timeout(limit, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// A request as actix knows them.
fn ours(request: http::Request<RecvStream>, data: &Rc<Extensions>, peer: SocketAddr) -> Request {
    let (parts, body) = request.into_parts();
    let mut request = Request::with_payload(Payload::from(body));
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = Some(peer);
    request.extensions_mut().insert(Rc::clone(data));
    request
}

async fn exchange<S>(
    service: &S,
    request: Request,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    send_timeout: Duration,
) -> Result<(), h2::Error>
where
    S: Service<Request>,
    S::Response: Into<Response<BoxBody>>,
    S::Error: Into<Response<BoxBody>>,
{
    let answer = tokio::select! {
        answer = service.call(request) => answer.map_or_else(Into::into, Into::into),
        // The caller has cancelled it, or is gone: nothing more is done for it.
        reset = poll_fn(|context| respond.poll_reset(context)) => return reset.map(drop),
    };
    let size = match answer.status() {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => BodySize::None,
        _ => answer.body().size(),
    };
    let at_end = is_head || size.is_eof();
    let stream = respond.send_response(head(answer.head(), size), at_end)?;
    if !at_end {
        return send(stream, answer.into_body(), size, send_timeout).await;
    }
    if is_head {
        finish(pin!(answer.into_body()), send_timeout).await;
    }
    Ok(())
}

/// The head of an answer, with what frames its body and without what belongs to connections of HTTP/1.1 (RFC 9113 §8.2.2).
fn head(answer: &ResponseHead, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = answer.status;
    let fields = head.headers_mut();
    for (name, value) in answer.headers() {
        let is_of_connection =
            matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade");
        // A 304 tells the length of what it does not send.
        let is_length = *name == header::CONTENT_LENGTH && answer.status != StatusCode::NOT_MODIFIED;
        if !is_of_connection && !is_length {
            fields.append(name, value.clone());
        }
    }
    if let BodySize::Sized(length) = size {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !fields.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(clock::now()))
    {
        fields.insert(header::DATE, date);
    }
    head
}

/// Sends a body, which ends with its stream or, if it is not whole, with a reset.
async fn send(
    mut stream: SendStream<Bytes>,
    body: BoxBody,
    size: BodySize,
    send_timeout: Duration,
) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    let mut left = match size {
        BodySize::Sized(length) => Some(length),
        BodySize::None | BodySize::Stream => None,
    };
    loop {
        let next = poll_fn(|context| match body.as_mut().poll_next(context) {
            Poll::Ready(piece) => Poll::Ready(Ok(piece)),
            Poll::Pending => stream.poll_reset(context).map(Err),
        });
        let mut piece = match next.await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) if left.is_none_or(|left| left == 0) => return stream.send_data(Bytes::new(), true),
            // A shortened body must not look complete.
            Ok(None | Some(Err(_))) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Err(reset) => return reset.map(drop),
        };
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len().min(SEND_BUFFER));
            let Ok(room) = timeout(send_timeout, room(&mut stream)).await else {
                debug!("resetting a stream whose caller takes nothing of its answer");
                stream.send_reset(Reason::CANCEL);
                return Ok(());
            };
            let Some(room) = room? else { return Ok(()) };
            let part = piece.split_to(room.min(piece.len()));
            left = left.map(|left| left.saturating_sub(part.len() as u64));
            stream.send_data(part, left == Some(0))?;
            if left == Some(0) {
                // The caller has all of it. An upstream that has not said so yet is not interrupted.
                finish(body, send_timeout).await;
                return Ok(());
            }
        }
    }
}

/// Hears a body's end, of which nothing more is sent.
async fn finish(mut body: Pin<&mut BoxBody>, limit: Duration) {
    let rest =
        async { while poll_fn(|context| body.as_mut().poll_next(context)).await.is_some_and(|piece| piece.is_ok()) {} };
    let _ = timeout(limit, rest).await;
}

/// Waits for room and returns it in bytes; returns nothing if the stream has ended.
async fn room(stream: &mut SendStream<Bytes>) -> Result<Option<usize>, h2::Error> {
    loop {
        match stream.capacity() {
            0 => match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(increase) => drop(increase?),
                None => return Ok(None),
            },
            room => return Ok(Some(room)),
        }
    }
}
