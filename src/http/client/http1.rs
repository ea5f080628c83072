//! HTTP/1.1 by awc, over connections of our own.
//!
//! awc is given plain-looking connections (`http://` URLs) and our connector puts TLS beneath them. That way TCP
//! options, ALPN and the detection of truncated bodies are ours, and framing and pooling are awc's. awc adds a `Date`
//! to each request; AWS goes by `x-amz-date`, which is signed, and ignores it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::Uri;
use futures_util::future::LocalBoxFuture;

use super::dial::{Dialer, Offer};
use super::error::ClientError;
use super::places::Places;
use super::response::Response;
use super::stream::Stream;
use super::{ClientSettings, Request};
use crate::http::body::Outgoing;

/// The dialer has deadlines of its own that say more; awc's must never fire first.
const LONGER_THAN_THE_DIALER: Duration = Duration::from_hours(1);

/// An HTTP/1.1 client with its pool.
pub(super) struct Http1 {
    awc: awc::Client,
    base: String,
    adopted: Adopted,
    places: Places,
}

/// Connections opened elsewhere that turned out to speak HTTP/1.1.
type Adopted = Rc<RefCell<Vec<Stream>>>;

impl Http1 {
    pub(super) fn new(dialer: Dialer, settings: &ClientSettings) -> Self {
        let base = format!("http://{}", dialer.endpoint().authority());
        let adopted = Adopted::default();
        let connector = awc::Connector::new()
            .connector(Connector { dialer: Rc::new(dialer), adopted: Rc::clone(&adopted) })
            .timeout(LONGER_THAN_THE_DIALER)
            .limit(settings.connection_limit)
            .conn_keep_alive(settings.keep_alive)
            .conn_lifetime(settings.lifetime);
        let awc = awc::Client::builder()
            .connector(connector)
            .disable_redirects()
            .disable_timeout()
            .no_default_headers()
            .finish();
        Self { awc, base, adopted, places: Places::new(settings.connection_limit) }
    }

    /// Puts an open connection to use.
    pub(super) fn adopt(&self, stream: Stream) {
        self.adopted.borrow_mut().push(stream);
    }

    pub(super) async fn send(&self, request: Request<'_>, body: Outgoing) -> Result<Response, ClientError> {
        let place = self.places.take().await?;
        let url = format!("{}{}", self.base, request.target);
        let mut outgoing = self.awc.request(request.method.clone(), url).no_decompress();
        *outgoing.headers_mut() = request.headers;
        Ok(Response::from_http1(outgoing.send_body(body).await?, place, &request.method))
    }
}

#[derive(Clone)]
struct Connector {
    dialer: Rc<Dialer>,
    adopted: Adopted,
}

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Stream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, destination: ConnectInfo<Uri>) -> Self::Future {
        let Self { dialer, adopted } = self.clone();
        Box::pin(async move {
            let ready = adopted.borrow_mut().pop();
            let stream = match ready {
                Some(stream) => stream,
                None => dialer.dial(Offer::Http1).await.map_err(|error| ConnectError::Io(io::Error::other(error)))?,
            };
            Ok(Connection::new(destination.request().clone(), stream))
        })
    }
}
