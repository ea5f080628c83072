//! What one worker thread needs for its requests.

use std::sync::Arc;

use crate::http::body::BodyLimits;
use crate::serve::auth::keys::KeyFetcher;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::Sheet;
use crate::serve::upstream::mlflow::MlflowClient;

/// A worker's own view of all targets.
pub(crate) struct Worker {
    /// What all workers share.
    pub shared: Arc<SharedState>,
    /// One for each of the shared backends, in their order.
    pub upstreams: Vec<MlflowClient>,
    /// How artifacts are taken in.
    pub intake: BodyLimits,
    /// How other bodies are.
    pub api_intake: BodyLimits,
    /// Fetches the keys of load balancers.
    pub keys: KeyFetcher,
    /// Where it counts what it does.
    pub sheet: Arc<Sheet>,
}

impl Worker {
    /// Prepares a worker on the thread that will use it.
    #[must_use]
    pub(crate) fn new(shared: Arc<SharedState>, intake: BodyLimits, api_body_size_limit: u64) -> Self {
        let upstreams = shared.backends.iter().map(|backend| MlflowClient::new(Arc::clone(backend))).collect();
        let api_intake = BodyLimits { size_limit: intake.size_limit.min(api_body_size_limit), ..intake.clone() };
        let first = &shared.backends[0];
        let keys = KeyFetcher::new(first.dialer.clone(), first.client.keep_alive);
        let sheet = shared.metrics.sheet();
        Self { shared, upstreams, intake, api_intake, keys, sheet }
    }
}
