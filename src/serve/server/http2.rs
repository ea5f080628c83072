//! HTTP/2 with clients: `h2` with limits, and the sending of responses.
//!
//! actix-http's own HTTP/2 lets a client open any number of streams, each with 16 MiB of header fields. It waits for ever
//! for room to send, and continues a request that the client has cancelled.

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
use h2::server::{self, Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;
use crate::serve::server::settings::ServerLimits;

/// The maximum number of concurrent requests on a connection. RFC 9113 §6.5.2 recommends no fewer.
const STREAM_LIMIT: u32 = 100;
/// The maximum size of a request's header fields, as HTTP/2 counts them. `h2` responds to more with 431 and stores none of it. It
/// is above the limit of the pipeline, so that a slight excess becomes a rejected request in the access log. Bytes.
///
/// SECURITY: a field in the compression table costs one byte on the wire, so a megabyte on the wire becomes many in memory.
const HEADER_LIST_LIMIT: u32 = 64 * 1024;
/// The number of bytes that a client may send before they are read, on one stream and on a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// The maximum number of bytes of a response that are buffered until the client reads them.
const SEND_BUFFER: usize = 64 * 1024;

/// The limits of a server, and the token that is cancelled when connections have to end with the requests that run on them.
type Http2Settings<'a> = (&'a ServerLimits, &'a CancellationToken);

/// Serves a connection until it ends. Its requests carry `data`.
pub(crate) async fn serve<T, S>(
    io: T,
    service: &Rc<S>,
    data: &Rc<Extensions>,
    peer: SocketAddr,
    (limits, drain): Http2Settings<'_>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request, Response: Into<Response<BoxBody>>, Error: Into<Response<BoxBody>>> + 'static,
{
    let handshake = Builder::new()
        .max_concurrent_streams(STREAM_LIMIT)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake::<_, Bytes>(io);
    let Ok(Ok(mut connection)) = timeout(limits.head_timeout, handshake).await else {
        debug!("the HTTP/2 handshake of a client failed");
        return;
    };
    let pings = connection.ping_pong().expect("asked for once");
    tokio::select! {
        () = accept(&mut connection, service, data, peer, (limits, drain)) => {}
        () = unanswered_ping(pings, limits.keep_alive) => {
            debug!("a connection is ended, because its client does not acknowledge pings");
        }
    }
}

async fn accept<T, S>(
    connection: &mut server::Connection<T, Bytes>,
    service: &Rc<S>,
    data: &Rc<Extensions>,
    peer: SocketAddr,
    (limits, drain): Http2Settings<'_>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request, Response: Into<Response<BoxBody>>, Error: Into<Response<BoxBody>>> + 'static,
{
    let mut is_draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = drain.cancelled(), if !is_draining => {
                connection.graceful_shutdown();
                is_draining = true;
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let is_head = request.method() == Method::HEAD;
        let request = converted(request, data, peer);
        let (service, send_timeout) = (Rc::clone(service), limits.send_timeout);
        spawn_local(async move {
            if let Err(error) = exchange(&*service, request, is_head, respond, send_timeout).await {
                debug!(%error, "a response did not reach its client");
            }
        });
    }
}

/// Waits until the client does not acknowledge a ping in time.
async fn unanswered_ping(mut pings: PingPong, limit: Duration) {
    loop {
        sleep(limit).await;
        if !matches!(timeout(limit, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Converts a request to actix's type.
fn converted(request: http::Request<RecvStream>, data: &Rc<Extensions>, peer: SocketAddr) -> Request {
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
    S: Service<Request, Response: Into<Response<BoxBody>>, Error: Into<Response<BoxBody>>>,
{
    let response = tokio::select! {
        response = service.call(request) => response.map_or_else(Into::into, Into::into),
        // The client has cancelled the request, or is gone.
        reset = poll_fn(|context| respond.poll_reset(context)) => return reset.map(drop),
    };
    let size = match response.status() {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => BodySize::None,
        _ => response.body().size(),
    };
    let at_end = is_head || size.is_eof();
    let stream = respond.send_response(head(response.head(), size), at_end)?;
    if !at_end {
        return send(stream, response.into_body(), size, send_timeout).await;
    }
    if is_head {
        finish(pin!(response.into_body()), send_timeout).await;
    }
    Ok(())
}

/// Returns the head of a response with the length of its body, and without the fields that belong to a connection of HTTP/1.1
/// (RFC 9113 §8.2.2).
fn head(response: &ResponseHead, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = response.status;
    let fields = head.headers_mut();
    for (name, value) in response.headers() {
        let is_of_connection =
            matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade");
        // A 304 has the length of the body that it does not send.
        let is_length = *name == header::CONTENT_LENGTH && response.status != StatusCode::NOT_MODIFIED;
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

/// Sends a body. A complete one ends its stream; a truncated one resets it.
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
            // A truncated body must not look complete.
            Ok(None | Some(Err(_))) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Err(reset) => return reset.map(drop),
        };
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len().min(SEND_BUFFER));
            let Ok(room) = timeout(send_timeout, room(&mut stream)).await else {
                debug!("a stream is reset, because its client does not read its response");
                stream.send_reset(Reason::CANCEL);
                return Ok(());
            };
            let Some(room) = room? else { return Ok(()) };
            let part = piece.split_to(room.min(piece.len()));
            left = left.map(|left| left.saturating_sub(part.len() as u64));
            stream.send_data(part, left == Some(0))?;
            if left == Some(0) {
                // The client has the whole body, but the upstream may not have ended it yet and must not be interrupted.
                finish(body, send_timeout).await;
                return Ok(());
            }
        }
    }
}

/// Reads a body to its end without sending it.
async fn finish(mut body: Pin<&mut BoxBody>, limit: Duration) {
    let rest =
        async { while poll_fn(|context| body.as_mut().poll_next(context)).await.is_some_and(|piece| piece.is_ok()) {} };
    let _ = timeout(limit, rest).await;
}

/// Waits for room and returns it in bytes, or nothing if the stream has ended.
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
