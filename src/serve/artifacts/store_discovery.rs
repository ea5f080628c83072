//! Asks the SageMaker API once for the artifact store of a target.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::api::ApiError;
use crate::api::describe::{self, DescribeError};
use crate::backoff::Backoff;
use crate::error_chain;
use crate::serve::upstream::served_target::ServedTarget;
use crate::serve::upstream::settings::StoreSource;

/// The longest first wait and the longest wait of all between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The time between two looks for credentials.
const CREDENTIALS_PAUSE: Duration = Duration::from_millis(100);

/// Finds the artifact store, if it is not configured, and returns once it is known.
pub(crate) async fn run(target: &ServedTarget) {
    let Some(StoreSource::Described(endpoint)) = target.artifacts.as_ref().map(|artifacts| &artifacts.store_source)
    else {
        return;
    };
    let (transport, mut backoff) = (target.transport(), BACKOFF);
    loop {
        match describe::artifact_store(&target.target, endpoint, &transport, &target.credentials).await {
            Ok(store) => {
                info!(
                    target_name = target.label(),
                    bucket = store.bucket(),
                    prefix = store.prefix(),
                    "the artifact store was found"
                );
                target.store.store(Some(Arc::new(store)));
                target.store_obstacle.store(None);
                return;
            }
            // Another task obtains the credentials, and logs why it cannot.
            Err(DescribeError::Unanswered(ApiError::Credentials(_))) => tokio::time::sleep(CREDENTIALS_PAUSE).await,
            Err(error) => {
                // The log says more; a caller need not learn the address of the API.
                let why = match &error {
                    DescribeError::Unanswered(_) => "the SageMaker API cannot be reached".to_owned(),
                    DescribeError::Refused { .. } | DescribeError::Elsewhere(_) => error.to_string(),
                };
                target.store_obstacle.store(Some(Arc::new(why)));
                let hint = "allow the action, or set `artifact-store` to the store's `s3://` URI";
                warn!(
                    target_name = target.label(),
                    error = error_chain::joined(&error),
                    hint,
                    "the artifact store was not found"
                );
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }
}
