//! One thread of a server: its runtime, its connections and their end.

use std::future::ready;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::{IntoServiceFactory as _, ServiceFactory as _, fn_factory, map_config};
use actix_web::dev::{AppConfig, Extensions};
use actix_web::{App, web};
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::http::tls::HTTP2;
use crate::serve::server::accept::{Accepted, Acceptor, HandedOver};
use crate::serve::server::connection::{LINGER, ServerConnections};
use crate::serve::server::http1::Versioned;
use crate::serve::server::http2;
use crate::serve::server::phase::{Phase, reach};
use crate::serve::server::rest::{Http1Server, Lent};
use crate::serve::server::settings::ServerSettings;
use crate::serve::server::stream::{ClientStream, ServerStream, tcp};

/// The maximum time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// The part of a large response that is written to the client at once; actix's own limit is half as much. Bytes.
const WRITE_SIZE: usize = 64 * 1024;
/// The number of threads for blocking work in the whole server.
const BLOCKING_THREADS: usize = 512;

/// The number of tasks that run before a thread looks for new events. A task that receives a large body takes less than a
/// millisecond in its turn (`head::BLOCK`), so a small request waits for less than 16 ms; the runtime's own interval is 61 tasks.
const EVENT_INTERVAL: u32 = 16;

/// The parts of a thread before it runs.
pub(crate) struct ServerThread {
    pub(crate) listeners: Vec<net::TcpListener>,
    pub(crate) acceptor: Acceptor,
    pub(crate) handed_over: mpsc::UnboundedReceiver<HandedOver>,
    pub(crate) settings: ServerSettings,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) closes: mpsc::UnboundedSender<()>,
}

/// Begins to serve a connection on this thread.
type ServeConnection = Box<dyn Fn(ServerStream, SocketAddr) -> AbortHandle>;

impl ServerThread {
    /// Reports through `starts` whether the thread can serve, and serves until the server's end.
    pub(crate) fn run(self, configure: impl FnOnce(&mut web::ServiceConfig), starts: &Sender<io::Result<()>>) {
        let threads = (BLOCKING_THREADS / self.settings.limits.threads).max(1);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(threads)
            .event_interval(EVENT_INTERVAL)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                if let Err(error) = runtime.block_on(self.serve(configure, starts)) {
                    let _ = starts.send(Err(error));
                }
                // No request waits for the work that still blocks.
                runtime.shutdown_background();
            }
            Err(error) => drop(starts.send(Err(error))),
        }
    }

    async fn serve(
        self,
        configure: impl FnOnce(&mut web::ServiceConfig),
        starts: &Sender<io::Result<()>>,
    ) -> io::Result<()> {
        let Self { listeners, acceptor, mut handed_over, settings, mut phase, closes } = self;
        let drain = CancellationToken::new();
        let connections = Rc::new(ServerConnections::default());
        let begin = services(&settings, &connections, drain.clone(), configure).await?;
        let listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect::<Result<_, _>>()?;
        let _ = starts.send(Ok(()));

        let serve = |accepted: Accepted<TcpStream>| {
            let connection = connections.add(accepted.permit, settings.tls.is_some());
            connection
                .set_task(begin(ServerStream { tcp: accepted.tcp, connection: Rc::clone(&connection) }, accepted.peer));
        };
        let mut over = phase.clone();
        let phases = async {
            {
                let accept = listeners
                    .iter()
                    .map(|listener| acceptor.accept(listener, settings.limits.connection_limit, &serve));
                tokio::select! {
                    () = reach(&mut phase, Phase::Closed) => {}
                    _ = join_all(accept), if !listeners.is_empty() => {}
                }
            }
            drop(listeners);
            let _ = closes.send(());
            reach(&mut phase, Phase::Draining).await;
            connections.drain();
            drain.cancel();
            acceptor.falls_below(1).await;
        };
        let take_over = async {
            while let Some(accepted) = handed_over.recv().await {
                match accepted.register() {
                    Ok(accepted) => serve(accepted),
                    Err(error) => error!(%error, "cannot serve a connection"),
                }
            }
        };
        tokio::select! {
            () = phases => {}
            () = take_over => {}
            () = connections.enforce_timeouts(&settings.limits) => {}
            () = reach(&mut over, Phase::Over) => {}
        }
        Ok(())
    }
}

/// Makes the function that serves a connection. The errors of the service for HTTP/1.1 need no log: a connection's failure
/// concerns only the client, and a request's is in the access log.
async fn services(
    settings: &ServerSettings,
    connections: &Rc<ServerConnections>,
    drain: CancellationToken,
    configure: impl FnOnce(&mut web::ServiceConfig),
) -> io::Result<ServeConnection> {
    let failed = |()| io::Error::other("the HTTP service could not be initialized");
    let app = map_config(App::new().configure(configure).into_factory(), |()| AppConfig::default());
    let app = Rc::new(Versioned(app.new_service(()).await.map_err(failed)?));
    let (shared, connections, note) = (Rc::clone(&app), Rc::clone(connections), settings.note);
    let note = move |stream: &ClientStream, data: &mut Extensions| {
        data.insert(Rc::clone(&tcp(stream).connection));
        if let Either::Right(tls) = stream {
            note(tls.get_ref().1.peer_certificates().unwrap_or_default(), data);
        }
    };
    let service = HttpService::build()
        .graceful_shutdown_signal(move || connections.draining())
        // Connections without a request end elsewhere (`ServerConnections::enforce_timeouts`).
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(settings.limits.head_timeout)
        .client_disconnect_timeout(LINGER)
        .h1_write_buffer_size(WRITE_SIZE)
        .on_connect_ext(move |stream: &Lent, data: &mut Extensions| note(&stream.io, data))
        // `finish` would make room in each connection for actix's HTTP/2 as well, in whose place `http2` is.
        .h1(fn_factory(move || ready(Ok::<_, ()>(Rc::clone(&shared)))))
        .new_service(())
        .await
        .map_err(failed)?;
    let server = Rc::new(Http1Server { service, drain });
    let (limits, acceptor) = (settings.limits, settings.tls.clone().map(TlsAcceptor::from));
    Ok(Box::new(move |stream, peer| {
        let (server, app, acceptor) = (Rc::clone(&server), Rc::clone(&app), acceptor.clone());
        // The parts for TLS are boxed, so that connections without TLS need no memory for them.
        let serve = async move {
            let Some(acceptor) = acceptor else { return server.serve(Either::Left(stream), peer).await };
            let Some(stream) = Box::pin(handshake(&acceptor, stream)).await else { return };
            let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            let stream = Either::Right(stream);
            if speaks_http2 {
                let mut data = Extensions::new();
                note(&stream, &mut data);
                Box::pin(http2::serve(stream, &app, &Rc::new(data), peer, (&limits, &server.drain))).await;
            } else {
                server.serve(stream, peer).await;
            }
        };
        spawn_local(serve).abort_handle()
    }))
}

/// Returns the stream of a connection after its handshake, or nothing if that fails.
async fn handshake(acceptor: &TlsAcceptor, stream: ServerStream) -> Option<Box<TlsStream<ServerStream>>> {
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => debug!(%error, "a client's TLS handshake failed"),
        Err(_) => debug!("a client's TLS handshake took too long"),
    }
    None
}
