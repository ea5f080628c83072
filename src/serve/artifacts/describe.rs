//! Asks the SageMaker API once where an MLflow keeps its artifacts.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::api::ApiError;
use crate::api::describe::{self, DescribeError};
use crate::backoff::Backoff;
use crate::error_chain;
use crate::serve::upstream::backend::{ArtifactLocation, ServedTarget};

/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Finds out where the artifacts are, if that is not configured, and ends when it is known.
pub(crate) async fn run(backend: &ServedTarget) {
    let Some(ArtifactLocation::Described(endpoint)) = backend.artifacts.as_ref().map(|artifacts| &artifacts.place)
    else {
        return;
    };
    let (transport, mut backoff) = (backend.transport(), Backoff::new(WAITS.0, WAITS.1));
    loop {
        match describe::artifact_store(&backend.target, endpoint, &transport, &backend.credentials).await {
            Ok(store) => {
                info!(
                    target_name = backend.label(),
                    bucket = store.bucket(),
                    prefix = store.prefix(),
                    "artifact store found"
                );
                backend.store.store(Some(Arc::new(store)));
                backend.describing.store(None);
                return;
            }
            // Credentials are obtained at the same time, and say themselves when they are not.
            Err(DescribeError::Unanswered(ApiError::Credentials(_))) => tokio::time::sleep(WAITS.0 / 10).await,
            Err(error) => {
                // The log has more; a caller need not know where the API is.
                let why = match &error {
                    DescribeError::Unanswered(_) => "the SageMaker API cannot be reached".to_owned(),
                    DescribeError::Refused { .. } | DescribeError::Elsewhere(_) => error.to_string(),
                };
                backend.describing.store(Some(Arc::new(why)));
                let hint = "allow the action, or set `artifact-store` to the store's `s3://` URI";
                warn!(
                    target_name = backend.label(),
                    error = error_chain::joined(&error),
                    hint,
                    "artifact store not found"
                );
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }
}
