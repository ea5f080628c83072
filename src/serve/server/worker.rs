//! One thread of a server: a runtime of its own, the connections it accepts, and their end.

use std::fmt::Debug;
use std::future::ready;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{IntoServiceFactory as _, Service, ServiceFactory, fn_factory, map_config};
use actix_web::dev::{AppConfig, Extensions};
use actix_web::{App, web};
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::http::tls::HTTP2;
use crate::serve::server::accept::{Accepted, Given, Share};
use crate::serve::server::connection::Connections;
use crate::serve::server::head::Guarded;
use crate::serve::server::http1::Versioned;
use crate::serve::server::stream::Stream;
use crate::serve::server::{Options, Phase, http2};

/// How long a caller may take for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a caller may go on sending what is not wanted any more; at once cut off, it would not see the answer.
const LINGER: Duration = Duration::from_secs(5);
/// What is gathered of a large answer before it is written to its caller, instead of half as much. Bytes.
const WRITE_SIZE: usize = 64 * 1024;
/// Threads for work that blocks, of all workers.
const BLOCKING_THREADS: usize = 512;

/// The number of tasks that run before a worker looks for new events. A task that receives a large body takes less than a
/// millisecond in its turn (`head::TURN`), so a small request waits for less than 16 ms; the runtime's own interval is 61 tasks.
const EVENT_INTERVAL: u32 = 16;

/// What a thread starts with.
pub(crate) struct Worker {
    pub(crate) listeners: Vec<net::TcpListener>,
    pub(crate) share: Share,
    pub(crate) given: mpsc::UnboundedReceiver<Given>,
    pub(crate) options: Options,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) closes: mpsc::UnboundedSender<()>,
}

/// Begins to serve a connection on this thread.
type Serve = Box<dyn Fn(Stream, SocketAddr) -> AbortHandle>;

impl Worker {
    /// Serves until the server's end, after saying whether it can.
    pub(crate) fn run(self, configure: impl FnOnce(&mut web::ServiceConfig), starts: &Sender<io::Result<()>>) {
        let threads = (BLOCKING_THREADS / self.options.workers).max(1);
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
                // Nobody waits any more for what still blocks.
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
        let Self { listeners, share, mut given, options, mut phase, closes } = self;
        let drain = CancellationToken::new();
        let begin = services(&options, drain.clone(), configure).await?;
        let listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect::<Result<_, _>>()?;
        let _ = starts.send(Ok(()));

        let connections = Rc::new(Connections::default());
        let serve = |accepted: Accepted<TcpStream>| {
            let connection = connections.note(accepted.place, options.tls.is_some());
            connection.is_served_by(begin(Stream::new(accepted.tcp, Rc::clone(&connection)), accepted.peer));
        };
        let mut over = phase.clone();
        let course = async {
            {
                let accept = listeners.iter().map(|listener| share.accept(listener, options.connection_limit, &serve));
                tokio::select! {
                    () = reach(&mut phase, Phase::Closed) => {}
                    _ = join_all(accept) => {}
                }
            }
            drop(listeners);
            let _ = closes.send(());
            reach(&mut phase, Phase::Draining).await;
            drain.cancel();
            share.falls_below(1).await;
        };
        let take = async {
            while let Some(accepted) = given.recv().await {
                match accepted.taken_over() {
                    Ok(accepted) => serve(accepted),
                    Err(error) => error!(%error, "cannot serve a connection"),
                }
            }
        };
        tokio::select! {
            () = course => {}
            () = take => {}
            () = connections.look_after(options.keep_alive + options.head_timeout, options.send_timeout) => {}
            () = reach(&mut over, Phase::Over) => {}
        }
        Ok(())
    }
}

/// Resolves when the server has come so far, or is not there any more.
async fn reach(phase: &mut watch::Receiver<Phase>, due: Phase) {
    let _ = phase.wait_for(|phase| *phase >= due).await;
}

/// What serves a connection.
async fn services(
    options: &Options,
    drain: CancellationToken,
    configure: impl FnOnce(&mut web::ServiceConfig),
) -> io::Result<Serve> {
    let app = map_config(App::new().configure(configure).into_factory(), |()| AppConfig::default());
    let app = app.new_service(()).await.map_err(|()| io::Error::other("the service cannot be made"))?;
    let app = Rc::new(Versioned::new(app));
    let factory = {
        let app = Rc::clone(&app);
        fn_factory(move || ready(Ok::<_, ()>(Rc::clone(&app))))
    };
    let Some(tls) = &options.tls else {
        let service = service(factory, options, drain, |stream: &Guarded<Stream>, data| {
            data.insert(Rc::clone(&stream.io.connection));
        });
        let service = service.await?;
        return Ok(Box::new(move |stream, peer| {
            let connection = Rc::clone(&stream.connection);
            let stream = Guarded::new(stream, connection);
            spawn_local(service.call((stream, Protocol::Http1, Some(peer)))).abort_handle()
        }));
    };
    let note = options.note;
    let note = move |stream: &TlsStream<Stream>, data: &mut Extensions| {
        let (beneath, tls) = stream.get_ref();
        data.insert(Rc::clone(&beneath.connection));
        note(tls.peer_certificates().unwrap_or_default(), data);
    };
    let settings = http2::Settings {
        head_timeout: options.head_timeout,
        keep_alive: options.keep_alive,
        send_timeout: options.send_timeout,
        drain: drain.clone(),
    };
    let note_guarded = move |stream: &Guarded<TlsStream<Stream>>, data: &mut Extensions| note(&stream.io, data);
    let service = Rc::new(service(factory, options, drain, note_guarded).await?);
    let acceptor = TlsAcceptor::from(Arc::clone(tls));
    Ok(Box::new(move |stream, peer| {
        let (service, handshake) = (Rc::clone(&service), acceptor.accept(stream));
        let (app, settings) = (Rc::clone(&app), settings.clone());
        let serve = async move {
            match timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP2) => {
                    let mut data = Extensions::new();
                    note(&stream, &mut data);
                    http2::serve(stream, &app, &Rc::new(data), peer, &settings).await;
                }
                Ok(Ok(stream)) => {
                    let connection = Rc::clone(&stream.get_ref().0.connection);
                    let stream = Guarded::new(stream, connection);
                    let _ = service.call((stream, Protocol::Http1, Some(peer))).await;
                }
                Ok(Err(error)) => debug!(%error, "a caller's handshake failed"),
                Err(_) => debug!("a caller's handshake took too long"),
            }
        };
        spawn_local(serve).abort_handle()
    }))
}

/// HTTP/1.1 over connections of one kind. A connection's failure is its caller's affair, and a request's is on record.
async fn service<T, S>(
    app: S,
    options: &Options,
    drain: CancellationToken,
    on_connect: impl Fn(&T, &mut Extensions) + 'static,
) -> io::Result<<HttpService<T, S, BoxBody> as ServiceFactory<(T, Protocol, Option<SocketAddr>)>>::Service>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Future: 'static,
    S::Response: Into<Response<BoxBody>> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    HttpService::build()
        .graceful_shutdown_signal(move || drain.clone().cancelled_owned())
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.head_timeout)
        .client_disconnect_timeout(LINGER)
        .h1_write_buffer_size(WRITE_SIZE)
        .on_connect_ext(on_connect)
        .finish(app)
        .new_service(())
        .await
        .map_err(|()| io::Error::other("the service cannot be made"))
}
