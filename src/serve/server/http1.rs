//! HTTP/1.0: responses that its clients can read.
//!
//! HTTP/1.0 has no chunked encoding (RFC 9112 §6.1), so a body of unknown length ends with the connection. actix writes
//! chunks to all clients.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::{ConnectionType, Request, Version};
use actix_service::Service;
use actix_web::dev::ServiceResponse;
use bytes::Bytes;
use futures_util::future::{Either, LocalBoxFuture};

use crate::serve::server::connection::ServerConnection;
use crate::serve::server::deferred::Deferred;
use crate::serve::server::header_map::fit;

/// A service whose responses suit the version of the request.
pub(crate) struct Versioned<S>(pub(super) S);

impl<S> Service<Request> for Versioned<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>>,
    S::Future: Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Deferred<S::Future>, LocalBoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&self, mut request: Request) -> Self::Future {
        fit(request.headers_mut());
        let version = request.version();
        let connection = request.conn_data::<Rc<ServerConnection>>().cloned();
        let response = self.0.call(request);
        if version >= Version::HTTP_11 {
            // A request over HTTP/2 has no such data.
            return Either::Left(Deferred::new(response, connection));
        }
        Either::Right(Box::pin(async move { Ok(close_delimited(response.await?, connection)) }))
    }
}

/// Lets a body of unknown length end with the connection.
fn close_delimited(
    mut response: ServiceResponse<BoxBody>,
    connection: Option<Rc<ServerConnection>>,
) -> ServiceResponse<BoxBody> {
    if response.response().body().size() != BodySize::Stream {
        return response;
    }
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
    response.map_body(|_, body| BoxBody::new(CloseDelimited { body, connection }))
}

/// A body that ends with its connection.
struct CloseDelimited {
    body: BoxBody,
    connection: Option<Rc<ServerConnection>>,
}

impl MessageBody for CloseDelimited {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let piece = ready!(Pin::new(&mut this.body).poll_next(context));
        if let (Some(Err(_)), Some(connection)) = (&piece, &this.connection) {
            // The end of the connection would look like the end of the body, so a truncated body ends with a reset.
            connection.reset_at_end();
        }
        Poll::Ready(piece)
    }
}
