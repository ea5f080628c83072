//! What one worker thread needs for its requests.

use std::sync::Arc;

use super::Shared;
use super::callers::keys::KeyFetcher;
use super::metrics::Sheet;
use super::upstream::Upstream;
use crate::http::body::Intake;

/// A worker's own view of all targets.
pub(super) struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// One for each of the shared backends, in their order.
    pub upstreams: Vec<Upstream>,
    /// How artifacts are taken in.
    pub intake: Intake,
    /// How other bodies are.
    pub api_intake: Intake,
    /// Fetches the keys of load balancers.
    pub keys: KeyFetcher,
    /// Where it counts what it does.
    pub sheet: Arc<Sheet>,
}

impl Worker {
    /// Prepares a worker on the thread that will use it.
    #[must_use]
    pub(super) fn new(shared: Arc<Shared>, intake: Intake, api_body_size_limit: u64) -> Self {
        let upstreams = shared.backends.iter().map(|backend| Upstream::new(Arc::clone(backend))).collect();
        let api_intake = Intake { size_limit: intake.size_limit.min(api_body_size_limit), ..intake.clone() };
        let first = &shared.backends[0];
        let keys = KeyFetcher::new(first.dialer.clone(), first.client);
        let sheet = shared.metrics.sheet();
        Self { shared, upstreams, intake, api_intake, keys, sheet }
    }
}
