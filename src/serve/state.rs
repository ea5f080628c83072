//! The state that all workers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::http::tls::server::ServerTls;
use crate::serve::auth::browser::AllowedHosts;
use crate::serve::auth::callers::Callers;
use crate::serve::pipeline::context::Ledger;
use crate::serve::telemetry::metrics::Metrics;
use crate::serve::upstream::served_target::ServedTarget;

/// The state that all workers share.
pub(crate) struct SharedState {
    pub backends: Vec<Arc<ServedTarget>>,
    pub allowed_hosts: AllowedHosts,
    pub callers: Callers,
    pub tls: Option<ServerTls>,
    pub ledger: Arc<Ledger>,
    pub metrics: Metrics,
    pub draining: AtomicBool,
}
