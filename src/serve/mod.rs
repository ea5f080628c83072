//! `serve`: the signing proxy. Assembles settings into a running server and sees it drained.

mod admin;
mod artifacts;
mod aside;
mod auth;
mod error;
mod limits;
mod pipeline;
mod reload;
mod server;
mod settings;
mod state;
mod systemd;
mod telemetry;
mod upstream;
mod worker;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{rt, web};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

pub use admin::AdminSettings;
use artifacts::describe;
use auth::Callers;
pub use auth::browser::AllowedHosts;
pub use auth::{CallerSettings, OidcSettings, SecretPlace, TokenSettings, TokenSource, read_file as read_tokens};
use pipeline::context::Ledger;
use server::{Server, ServerSettings};
pub use settings::{ServeError, ServeSettings};
use state::SharedState;
use systemd::Heartbeat;
use telemetry::audit::AuditLog;
pub use telemetry::audit::AuditSink;
use telemetry::metrics::Metrics;
pub use telemetry::spans::{Collector, SpanSettings};
use telemetry::spans::{ExportTask, Exporter};
use upstream::backend::ServedTarget;
pub use upstream::backend::{Access, ArtifactSettings, Place, TargetSettings};
use upstream::identity::{Identity, token_reader};
use worker::Worker;

/// Serves until a signal stops it and running requests are done.
///
/// # Errors
/// [`ServeError`].
pub async fn run(settings: ServeSettings) -> Result<(), ServeError> {
    let mut listeners = settings.inherited;
    if listeners.is_empty() {
        let bound =
            server::bind(settings.listen).map_err(|source| ServeError::Bind { address: settings.listen, source })?;
        listeners.push(bound);
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let mut identities: Vec<Identity> = Vec::new();
    let backends = settings.backends.into_iter().map(|backend| {
        let credentials = Identity::of(&backend, &mut identities);
        Arc::new(ServedTarget::new(backend, credentials))
    });
    let backends: Vec<_> = backends.collect();
    let audit = AuditLog::start(settings.audit).map_err(ServeError::Audit)?;
    let export = settings.spans.map(Exporter::start);
    let names = backends.iter().map(|backend| backend.name.as_deref());
    let shared = Arc::new(SharedState {
        metrics: Metrics::new(names, settings.intake.clone()),
        backends,
        allowed_hosts: settings.allowed_hosts,
        callers: Callers::new(settings.callers),
        tls: settings.tls.clone(),
        ledger: Arc::new(Ledger::new(settings.run, audit, export.as_ref().map(ExportTask::exporter))),
        draining: AtomicBool::new(false),
    });

    let admin = settings.admin.map(|admin| admin::open(admin, &shared)).transpose()?.flatten();
    let heartbeat = Heartbeat::new();
    let server_settings = ServerSettings {
        name: "worker",
        threads: settings.workers,
        connection_limit: settings.connection_limit,
        keep_alive: settings.keep_alive,
        head_timeout: settings.head_timeout,
        send_timeout: settings.send_timeout,
        tls: settings.tls.as_ref().map(|tls| Arc::new(tls.config())),
        note: auth::certificate::note,
    };
    let mut server = {
        let (shared, heartbeat) = (Arc::clone(&shared), Arc::clone(&heartbeat));
        let (intake, api_body_size_limit) = (settings.intake, settings.api_body_size_limit);
        Server::start(&listeners, &server_settings, move |app| {
            heartbeat.join();
            let worker = Worker::new(Arc::clone(&shared), intake.clone(), api_body_size_limit);
            app.app_data(Rc::new(worker)).default_service(web::to(pipeline::handle));
        })
        .map_err(ServeError::Server)?
    };
    drop(listeners);

    announce(&shared, &addresses);
    let reader = token_reader(&shared, &mut identities);
    let mut tasks: Vec<_> = identities
        .into_iter()
        .map(|identity| {
            let egress = settings.egress.clone();
            rt::spawn(async move { identity.keep_fresh(&egress).await })
        })
        .collect();
    tasks
        .extend(shared.backends.iter().cloned().map(|backend| rt::spawn(async move { describe::run(&backend).await })));
    tasks.push(rt::spawn(reload::run(Arc::clone(&shared), settings.tls, reader, settings.reload_interval)));
    tasks.push(rt::spawn(systemd::report(Arc::clone(&shared), heartbeat)));
    let keeper = Arc::clone(&shared);
    tasks.push(rt::spawn(async move { keeper.metrics.keep_history().await }));
    let mut signals = Signals::await_them();
    let (result, deadline) = tokio::select! {
        error = server.failure() => (Err(ServeError::Server(error)), None),
        () = signals.next() => {
            let deadline = Instant::now() + settings.drain_timeout;
            drain(&mut server, &mut signals, &shared, settings.drain_timeout).await;
            (Ok(()), Some(deadline))
        }
    };
    server.stop().await;
    for task in tasks {
        task.abort();
    }
    // The last to go, so that the drain can be watched.
    if let Some(admin) = admin {
        admin.stop().await;
    }
    shared.ledger.audit.flush();
    if let Some(export) = export {
        export.finish(deadline).await;
    }
    info!(in_flight = shared.ledger.in_flight(), "stopped");
    result
}

/// Says once for each target where it is served.
fn announce(shared: &SharedState, addresses: &[SocketAddr]) {
    for backend in &shared.backends {
        let (arn, upstream) = (backend.target.arn(), backend.dialer.endpoint().authority());
        let proxy = backend.dialer.proxy().map(ToString::to_string);
        for address in addresses {
            info!(listen = %address, target_name = backend.label(), mlflow = %arn, upstream, proxy, "listening");
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn await_them() -> Self {
        let both = signal(SignalKind::terminate()).and_then(|one| Ok((one, signal(SignalKind::interrupt())?)));
        if let Err(error) = &both {
            warn!(%error, "cannot listen for signals; the process can only be killed");
        }
        Self(both.ok())
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} },
            None => std::future::pending().await,
        }
    }
}

/// Lets running requests finish, for as long as they may; another signal does not wait for that.
async fn drain(server: &mut Server, signals: &mut Signals, shared: &SharedState, limit: Duration) {
    shared.draining.store(true, Ordering::Relaxed);
    systemd::stopping();
    info!(in_flight = shared.ledger.in_flight(), "draining");
    tokio::select! {
        () = server.drain() => {}
        () = sleep(limit) => warn!(in_flight = shared.ledger.in_flight(), "cutting requests that are still running"),
        () = signals.next() => {}
    }
}
