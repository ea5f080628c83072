//! What one worker thread needs for its requests.

use std::sync::Arc;

use crate::http::body::Intake;
use crate::serve::auth::keys::KeyFetcher;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::WorkerCounters;
use crate::serve::upstream::mlflow::MlflowClient;

/// A worker's own view of all targets.
pub(crate) struct Worker {
    /// What all workers share.
    pub shared: Arc<SharedState>,
    /// One for each of the shared backends, in their order.
    pub upstreams: Vec<MlflowClient>,
    /// How artifacts are taken in.
    pub intake: Intake,
    /// How other bodies are.
    pub api_intake: Intake,
    /// Fetches the keys of load balancers.
    pub keys: KeyFetcher,
    /// The counters that the worker updates.
    pub counters: Arc<WorkerCounters>,
}

impl Worker {
    /// Prepares a worker on the thread that will use it.
    #[must_use]
    pub(crate) fn new(shared: Arc<SharedState>, intake: Intake, api_body_size_limit: u64) -> Self {
        let upstreams = shared.backends.iter().map(|backend| MlflowClient::new(Arc::clone(backend))).collect();
        let api_intake = Intake { size_limit: intake.size_limit.min(api_body_size_limit), ..intake.clone() };
        let first = &shared.backends[0];
        let keys = KeyFetcher::new(first.dialer.clone(), first.client);
        let counters = shared.metrics.add_worker();
        Self { shared, upstreams, intake, api_intake, keys, counters }
    }
}
