//! The client for everything that the appliance asks for itself: metadata, AWS's services, key sets and collectors.
//!
//! It is `awc`, over connections that [`Dialer`] opens, so that trust, proxies and the errors of connecting are those of the
//! callers' client. `awc` speaks plain HTTP/1.1 to a connection that may already be encrypted. It takes the end of a connection
//! for the end of a body; here that end is an error of the connection ([`Closed`]), so a truncated body is never taken for a
//! complete one. A body is read whole, up to a limit, within a deadline for the whole exchange.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use actix_http::error::ParseError;
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri, Version};
use awc::body::None as NoBody;
use awc::error::{ConnectError, SendRequestError};
use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::dial_error::DialError;
use super::error::{BodyError, ClientError};
use super::service_connector::DialingConnector;
use super::stream::Closed;
use crate::http::fields::Fields;
use crate::http::headers::content_length;

/// The limits of a [`ServiceClient`].
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// The longest time for one exchange, from the connection to the end of the response's body.
    pub exchange_timeout: Duration,
    /// An idle connection is kept for this long; with zero, each exchange has a connection of its own.
    pub keep_alive: Duration,
    /// The largest body of a response. Bytes.
    pub body_limit: usize,
}

/// A client for one server. It belongs to one thread, and works within an actix runtime.
pub struct ServiceClient {
    client: awc::Client,
    base: String,
    host: HeaderValue,
    limits: ServiceLimits,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct ServiceResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The reasons why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceClientError {
    /// No response began.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A response began and did not end.
    #[error("the response did not arrive completely")]
    Body(#[from] BodyError),
}

impl ServiceClient {
    /// Creates a client for the dialer's endpoint.
    #[must_use]
    pub fn new(dialer: Dialer, limits: ServiceLimits) -> Self {
        let authority = dialer.endpoint().authority();
        let connector = awc::Connector::new()
            .connector(DialingConnector::new(dialer))
            // The dialer has deadlines for each step and names the one that passed.
            .timeout(limits.exchange_timeout)
            .conn_keep_alive(limits.keep_alive);
        let client = awc::Client::builder()
            .connector(connector)
            // The headers are those that were signed.
            .no_default_headers()
            .disable_redirects()
            .disable_timeout()
            .finish();
        let host = HeaderValue::try_from(&authority).expect("a host and a port are ASCII");
        Self { client, base: format!("http://{authority}"), host, limits }
    }

    /// Sends a request with exactly this path and query, these headers and this body, and reads the response.
    ///
    /// `awc` adds `Date`, which AWS ignores beside `x-amz-date` and in presigned requests.
    ///
    /// # Errors
    /// [`ServiceClientError`].
    pub async fn exchange(
        &self,
        method: Method,
        target: &str,
        headers: Fields,
        body: Bytes,
    ) -> Result<ServiceResponse, ServiceClientError> {
        let ServiceLimits { exchange_timeout, body_limit, .. } = self.limits;
        let deadline = Instant::now() + exchange_timeout;
        let uri =
            Uri::try_from(format!("{}{target}", self.base)).map_err(|error| ClientError::Invalid(error.into()))?;
        let is_head = method == Method::HEAD;
        // `no_decompress` keeps `awc` from adding `Accept-Encoding`.
        let mut request = self.client.request(method, uri).no_decompress();
        request.headers_mut().insert(header::HOST, self.host.clone());
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        if self.limits.keep_alive.is_zero() {
            request = request.force_close();
        }
        let sent = if body.is_empty() { request.send_body(NoBody::new()) } else { request.send_body(body) };
        let sent = timeout_at(deadline, sent).await.map_err(|_| ClientError::NoAnswer(exchange_timeout))?;
        let mut response = sent.map_err(|error| client_error(error, exchange_timeout))?;
        let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
        if status.is_informational() {
            return Err(ClientError::Invalid("the response is an interim one".into()).into());
        }
        let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
        let announced = if is_chunked { None } else { content_length(&headers) };
        let collected = async {
            let mut all = BytesMut::new();
            while let Some(piece) = poll_fn(|context| Pin::new(&mut response).poll_next(context)).await {
                match piece {
                    Ok(piece) if all.len() + piece.len() > body_limit => return Err(BodyError::TooLarge(body_limit)),
                    Ok(piece) => all.extend_from_slice(&piece),
                    // A body of HTTP/1.0 with neither a length nor chunks ends with its connection.
                    Err(error) if announced.is_none() && !is_chunked && is_end(&error) => break,
                    Err(error) => return Err(body_error(error)),
                }
            }
            Ok(all.freeze())
        };
        let collected = timeout_at(deadline, collected).await;
        let body = collected.map_err(|_| BodyError::Stalled(exchange_timeout))??;
        let has_body = !is_head && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // `awc` takes such a response of HTTP/1.1 for one without a body, although its body ends with the connection.
        if has_body && status.is_success() && announced.is_none() && !is_chunked && version == Version::HTTP_11 {
            return Err(BodyError::Broken("it has neither a length nor chunks".into()).into());
        }
        // The connection has already told the truth about its end; this holds whatever the client beneath makes of it.
        if has_body && announced.is_some_and(|length| length != body.len() as u64) {
            return Err(BodyError::Truncated.into());
        }
        Ok(ServiceResponse { status, headers, body })
    }
}

/// Translates what `awc` says about a request without a response.
fn client_error(error: SendRequestError, limit: Duration) -> ClientError {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => dialing_error(error),
        SendRequestError::Connect(ConnectError::Disconnected) => ClientError::Closed,
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => ClientError::NoAnswer(limit),
        SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => {
            ClientError::from_io(error)
        }
        SendRequestError::Response(error) => ClientError::Invalid(error.into()),
        error => ClientError::Invalid(error.into()),
    }
}

/// Takes the error of the dialer out of the one in which it passed through `awc`.
fn dialing_error(error: io::Error) -> ClientError {
    match error.downcast::<DialError>() {
        Ok(error) => ClientError::Dial(error),
        Err(error) => ClientError::from_io(error),
    }
}

fn body_error(error: PayloadError) -> BodyError {
    match error {
        // actix-http makes this of any error of the connection.
        PayloadError::Incomplete(Some(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            BodyError::Broken(error.into())
        }
        PayloadError::Incomplete(_) => BodyError::Truncated,
        error => BodyError::Broken(error.into()),
    }
}

/// True if the peer has closed the connection.
fn is_end(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Incomplete(Some(error)) if Closed::is(error))
}

#[cfg(test)]
mod tests;
