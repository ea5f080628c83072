//! Asks the SageMaker API once where an MLflow keeps its artifacts.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::super::aws_json::{self, Call};
use super::super::backend::{Backend, Place};
use super::super::refusal::Refusal;
use crate::causes;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::mlflow::store::ArtifactStore;

/// The name that SageMaker's API signs with.
const SERVICE: &str = "sagemaker";
/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why the location is not known.
#[derive(Debug, thiserror::Error)]
enum DescribeError {
    #[error(transparent)]
    Unanswered(#[from] Refusal),
    #[error("the SageMaker API answered {status} ({code}); `{action}` on the target is needed")]
    Refused { status: StatusCode, code: String, action: String },
    #[error("the artifact store of the target is `{0}`, which is not on S3")]
    Elsewhere(String),
}

/// Finds out where the artifacts are, if that is not configured, and ends when it is known.
pub(in crate::serve) async fn run(backend: &Backend) {
    let Some(Place::Described(endpoint)) = backend.artifacts.as_ref().map(|artifacts| &artifacts.place) else { return };
    let mut wait = WAITS.0;
    loop {
        match ask(backend, endpoint).await {
            Ok(store) => {
                info!(
                    target_name = backend.label(),
                    bucket = store.bucket(),
                    prefix = store.prefix(),
                    "artifact store found"
                );
                backend.store.store(Some(Arc::new(store)));
                return;
            }
            // Credentials are obtained at the same time, and say themselves when they are not.
            Err(DescribeError::Unanswered(Refusal::Credentials(_))) => tokio::time::sleep(WAITS.0 / 10).await,
            Err(error) => {
                let hint = "allow the action, or set `artifact-store` to the store's `s3://` URI";
                warn!(target_name = backend.label(), error = causes::joined(&error), hint, "artifact store not found");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAITS.1);
            }
        }
    }
}

async fn ask(backend: &Backend, endpoint: &Endpoint) -> Result<ArtifactStore, DescribeError> {
    let arn = backend.target.arn();
    let (operation, question) = match arn.mode() {
        Mode::TrackingServer => ("DescribeMlflowTrackingServer", json!({"TrackingServerName": arn.resource_name()})),
        Mode::App => ("DescribeMlflowApp", json!({"Arn": arn.as_str()})),
    };
    let operation_name = format!("SageMaker.{operation}");
    let call =
        Call { endpoint, region: arn.region(), service: SERVICE, operation: &operation_name, question: &question };
    let (status, answer) = aws_json::send(call, &backend.dialer, backend.client, &backend.credentials).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if status != StatusCode::OK {
        let code = answer["__type"].as_str().unwrap_or("no reason given").to_owned();
        return Err(DescribeError::Refused { status, code, action: format!("sagemaker:{operation}") });
    }
    let uri = answer["ArtifactStoreUri"].as_str().unwrap_or_default();
    ArtifactStore::parse(uri).map_err(|_| DescribeError::Elsewhere(uri.to_owned()))
}
