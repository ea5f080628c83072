//! `serve`: the signing proxy. This file assembles a server out of settings, runs it, and stops it.
//!
//! The groups, from top to bottom; each imports only groups below it, as `tests/it/architecture` checks:
//!
//! - `pipeline`: the stages of one request
//! - `shutdown`, `background`, `systemd`, `reload`: the life of the process
//! - `admin`: the listener for operators, and the pages of health
//! - `personal`: the pages of personal tokens
//! - `state`: what all workers share, and what each has of its own
//! - `artifacts`: the artifact gateway
//! - `upstream`: the clients of managed MLflow and of S3
//! - `context`: the access log and the permits of one request
//! - `error`: the errors with which the appliance itself answers
//! - `telemetry`, `auth`, `limits`: observes requests, finds the caller, bounds what each caller gets
//! - `page`: the look of the pages for people
//! - `server`: connections and HTTP; it imports no other group

mod admin;
mod artifacts;
mod auth;
mod background;
mod context;
mod error;
mod limits;
mod offload;
mod page;
mod personal;
mod pipeline;
mod reload;
mod serve_error;
mod server;
mod settings;
mod shutdown;
mod state;
mod systemd;
mod telemetry;
mod upstream;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use actix_web::dev::fn_service;
use actix_web::rt::task::JoinHandle;
use tracing::info;

pub use admin::AdminSettings;
pub use auth::browser::AllowedHosts;
use auth::callers::Callers;
pub use auth::client_secret::read_file as read_client_secret;
use auth::overview::AccessOverview;
pub use auth::session_store::SESSION_KEY_LENGTH;
pub use auth::settings::{
    AwsIdentitySettings, CallerSettings, ClientSecretSource, IssuerSettings, OidcSettings, PersonalSettings,
    SessionSettings, SignOnSettings, TokenSettings,
};
pub use auth::sign_in_page::LONGEST_HELP;
pub use auth::sign_on::{CALLBACK, SIGNED_OUT};
use background::Background;
pub use serve_error::ServeError;
pub use server::ServerLimits;
use server::{Server, ServerSettings};
pub use settings::ServeSettings;
use shutdown::{StopSignals, drain};
use state::{SharedState, WorkerState};
use systemd::Heartbeat;
use telemetry::audit::AuditLog;
pub use telemetry::audit::AuditSink;
use telemetry::log_export::LogExport;
pub use telemetry::log_export::{LogContent, LogExportSettings, LogQueue};
use telemetry::metrics::{Metrics, RequestTotals};
use telemetry::request_reports::RequestReports;
pub use telemetry::spans::{Collector, SpanSettings};
use telemetry::spans::{SpanExportTask, SpanExporter};
use upstream::served_target::ServedTarget;
pub use upstream::settings::{ArtifactAccess, ArtifactSettings, StoreSource, TargetSettings};
use upstream::signing_identity::SigningIdentity;
use upstream::target_names::TargetNames;

/// Serves until a signal stops it and the requests in flight are finished. `summary` is logged once it listens.
///
/// # Errors
/// [`ServeError`].
pub async fn run(settings: ServeSettings, summary: &str) -> Result<(), ServeError> {
    let drain_timeout = settings.drain_timeout;
    let mut running = start(settings, summary)?;
    let mut signals = StopSignals::listen();
    let (result, deadline) = tokio::select! {
        error = running.server.failure() => (Err(ServeError::Server(error)), None),
        () = signals.next() => {
            let deadline = Instant::now() + drain_timeout;
            drain(&mut running.server, &mut signals, &running.shared, drain_timeout).await;
            (Ok(()), Some(deadline))
        }
    };
    running.finish(deadline).await;
    result
}

/// The parts that run until the process ends.
struct Running {
    shared: Arc<SharedState>,
    server: Server,
    admin: Option<Server>,
    tasks: Vec<JoinHandle<()>>,
    spans: Option<SpanExportTask>,
    log_export: Option<LogExport>,
}

/// Starts everything that these settings describe.
fn start(settings: ServeSettings, summary: &str) -> Result<Running, ServeError> {
    let mut listeners = settings.inherited;
    if listeners.is_empty() {
        let bound = server::bind(settings.listen);
        listeners.push(bound.map_err(|source| ServeError::Bind { address: settings.listen, source })?);
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let mut identities: Vec<SigningIdentity> = Vec::new();
    let served_targets = settings.served_targets.into_iter().map(|served| {
        let credentials = SigningIdentity::of(&served, &mut identities);
        Arc::new(ServedTarget::new(served, credentials))
    });
    let served_targets: Vec<_> = served_targets.collect();
    let audit_export = settings.log_export.as_ref().and_then(|export| export.queue(LogContent::Audit));
    let path = settings.audit.as_ref().map(ToString::to_string).unwrap_or_default();
    let audit = AuditLog::start(settings.audit, audit_export).map_err(|source| ServeError::Audit { path, source })?;
    let mut log_export = settings.log_export.map(|export| {
        // The role of a target need not be able to write there.
        let credentials = SigningIdentity::of_machine(&export.group.region, &mut identities);
        LogExport::start(export, &credentials, settings.run)
    });
    let spans = settings.spans.map(SpanExporter::start);
    let (exporter, queues) = (spans.as_ref().map(SpanExportTask::exporter), log_export.as_ref().map(LogExport::queues));
    let names = served_targets.iter().map(|served| served.name.as_deref());
    let shared = Arc::new(SharedState {
        metrics: Metrics::new(names, settings.body_limits.clone()),
        target_names: TargetNames::new(&served_targets),
        served_targets,
        allowed_hosts: settings.allowed_hosts,
        access: AccessOverview::of(&settings.callers),
        callers: Callers::new(settings.callers),
        tls: settings.tls.clone(),
        reports: Arc::new(RequestReports::new(settings.run, audit, exporter, queues.unwrap_or_default())),
        draining: AtomicBool::new(false),
    });
    if let Some(log_export) = &mut log_export {
        let shared = Arc::clone(&shared);
        log_export.watch(move || RequestTotals::of(&shared.metrics.snapshot()));
    }
    let admin = settings.admin.map(|admin| admin::open(admin, &shared)).transpose()?.flatten();
    let heartbeat = Heartbeat::new();
    let server_settings = ServerSettings {
        name: "worker",
        limits: settings.server,
        tls: settings.tls.as_ref().map(|tls| Arc::new(tls.config())),
        note: auth::certificate::note,
    };
    let (state, beat, limits) = (Arc::clone(&shared), Arc::clone(&heartbeat), settings.body_limits);
    let server = Server::start(&listeners, &server_settings, move |app| {
        beat.join();
        let worker = WorkerState::new(Arc::clone(&state), limits.clone(), settings.api_body_size_limit);
        // `web::to` would put a future and a box of its own around each request.
        app.app_data(Rc::new(worker)).default_service(fn_service(pipeline::handle));
    });
    let server = server.map_err(ServeError::Server)?;
    info!("{summary}");
    announce(&shared, &addresses);
    let inputs =
        Background { tls: settings.tls, egress: settings.egress, reload_interval: settings.reload_interval, heartbeat };
    let tasks = background::start(&shared, identities, inputs);
    Ok(Running { shared, server, admin, tasks, spans, log_export })
}

impl Running {
    /// Ends everything. What waits for export has until the deadline, if there is one.
    async fn finish(self, deadline: Option<Instant>) {
        self.server.stop().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        // The admin listener ends last, so that operators can watch the draining.
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        let reports = &self.shared.reports;
        reports.audit.flush();
        if let Some(spans) = self.spans {
            spans.finish(deadline).await;
        }
        info!(in_flight = reports.in_flight(), "stopped");
        // Last, because all others may still log.
        if let Some(log_export) = self.log_export {
            log_export.finish(deadline).await;
        }
    }
}

/// Logs once for each target the address where it is served.
fn announce(shared: &SharedState, addresses: &[SocketAddr]) {
    for served in &shared.served_targets {
        let (arn, upstream) = (served.target.arn(), served.dialer.endpoint().authority());
        let proxy = served.dialer.proxy().map(ToString::to_string);
        for address in addresses {
            info!(listen = %address, target_name = served.label(), resource_arn = %arn, upstream, proxy, "listening");
        }
    }
}
