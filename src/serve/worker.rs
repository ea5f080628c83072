//! What one worker thread needs for its requests.

use std::sync::Arc;

use super::Shared;
use super::upstream::Upstream;
use crate::http::body::Intake;

/// A worker's own view of all targets.
pub(super) struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// One for each of the shared backends, in their order.
    pub upstreams: Vec<Upstream>,
    /// How bodies are taken in.
    pub intake: Intake,
}

impl Worker {
    /// Prepares a worker on the thread that will use it.
    #[must_use]
    pub(super) fn new(shared: Arc<Shared>, intake: Intake) -> Self {
        let upstreams = shared.backends.iter().map(|backend| Upstream::new(Arc::clone(backend))).collect();
        Self { shared, upstreams, intake }
    }
}
