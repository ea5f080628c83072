//! The connections of `awc`: opened by [`Dialer`], with its trust, its proxies and its deadlines.

use std::io;
use std::task::{Context, Poll};

use actix_service::{Service, always_ready};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::Uri;
use actix_web::rt::net::{ActixStream, Ready};
use futures_util::future::LocalBoxFuture;

use super::dial::{Dialer, Offer};
use super::stream::UpstreamStream;

/// Connects to the dialer's endpoint, whatever host a request names.
#[derive(Clone)]
pub(super) struct DialingConnector(Dialer);

impl DialingConnector {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self(dialer)
    }
}

impl Service<ConnectInfo<Uri>> for DialingConnector {
    type Response = Connection<Uri, UpstreamStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self(dialer) = self.clone();
        Box::pin(async move {
            let stream = dialer.dial(Offer::Http1).await;
            // `ClientError` takes it out again, so that hints can tell a name from a certificate.
            let stream = stream.map_err(|error| ConnectError::Io(io::Error::other(error)))?;
            Ok(Connection::new(request.request().clone(), stream))
        })
    }
}

impl ActixStream for UpstreamStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), context)
    }
}
