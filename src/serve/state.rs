//! The state behind requests: what all workers share, and what each worker has of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::http::body::BodyLimits;
use crate::http::tls::server::ServerTls;
use crate::serve::auth::browser::AllowedHosts;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::overview::AccessOverview;
use crate::serve::auth::service_clients::ServiceClients;
use crate::serve::telemetry::metrics::{Metrics, WorkerCounters};
use crate::serve::telemetry::request_reports::RequestReports;
use crate::serve::upstream::mlflow::{MlflowClient, UpstreamParts};
use crate::serve::upstream::served_target::ServedTarget;
use crate::serve::upstream::target_names::TargetNames;

/// The state that all workers share. Nothing in it is locked while a request is served.
pub(crate) struct SharedState {
    pub served_targets: Vec<Arc<ServedTarget>>,
    pub target_names: TargetNames,
    pub allowed_hosts: AllowedHosts,
    pub callers: Callers,
    pub access: AccessOverview,
    pub tls: Option<ServerTls>,
    pub reports: Arc<RequestReports>,
    pub metrics: Metrics,
    pub draining: AtomicBool,
}

/// The state of one worker thread.
pub(crate) struct WorkerState {
    /// The state that all workers share.
    pub shared: Arc<SharedState>,
    /// A client for each of the shared targets, in their order.
    pub upstreams: Vec<MlflowClient>,
    /// The limits and budgets of artifacts.
    pub body_limits: BodyLimits,
    /// The limits and budgets of all other bodies.
    pub api_body_limits: BodyLimits,
    /// Connects to the services that authentication asks.
    pub services: ServiceClients,
    /// The worker's counters.
    pub counters: Rc<WorkerCounters>,
}

impl WorkerState {
    /// Prepares a worker on the thread that will use it.
    pub(crate) fn new(shared: Arc<SharedState>, body_limits: BodyLimits, api_body_size_limit: u64) -> Self {
        let parts = UpstreamParts::default();
        let upstreams =
            shared.served_targets.iter().map(|served| MlflowClient::new(Arc::clone(served), &parts)).collect();
        let api_body_limits =
            BodyLimits { size_limit: body_limits.size_limit.min(api_body_size_limit), ..body_limits.clone() };
        let first = &shared.served_targets[0];
        let services = ServiceClients::new(first.dialer.clone(), first.client.keep_alive);
        let counters = shared.metrics.add_worker();
        Self { shared, upstreams, body_limits, api_body_limits, services, counters }
    }
}
