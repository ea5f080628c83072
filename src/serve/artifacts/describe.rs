//! Asks the SageMaker API once where an MLflow keeps its artifacts.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::super::backend::{Backend, Place};
use super::super::refusal::Refusal;
use super::super::upstream::insert_signature;
use super::request::text;
use crate::aws::sigv4::{Signable, Signer, hex};
use crate::http::body::Body;
use crate::http::client::{Client, Endpoint, Request};
use crate::mlflow::arn::Mode;
use crate::mlflow::store::ArtifactStore;
use crate::{causes, clock};

/// The name that SageMaker's API signs with.
const SERVICE: &str = "sagemaker";
/// The header that names the operation.
const OPERATION: &str = "x-amz-target";
/// A description is a few hundred bytes.
const ANSWER_LIMIT: usize = 1 << 20;
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
    let (body, target) = (question.to_string(), format!("SageMaker.{operation}"));
    let sha256 = hex(&Sha256::digest(&body));
    let host = endpoint.authority();
    let content_type = "application/x-amz-json-1.1";
    let value = |text: &str| HeaderValue::try_from(text).expect("hosts were checked when parsed");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, value(&host));
    headers.insert(header::CONTENT_TYPE, value(content_type));
    headers.insert(HeaderName::from_static(OPERATION), value(&target));
    let now = clock::now();
    let signer = Signer::new(arn.region(), SERVICE);
    backend
        .credentials
        .with(now, |credentials| {
            let request = Signable {
                method: "POST",
                target: "/",
                host: &host,
                content_type: Some(content_type),
                routing: Some((OPERATION, &target)),
                payload_sha256: &sha256,
            };
            insert_signature(&mut headers, &signer, &request, credentials, now);
        })
        .map_err(Refusal::Credentials)?;
    let client = Client::new(backend.dialer.to(endpoint.clone()), backend.client);
    let body = Body::from_bytes(Bytes::from(body));
    let request = Request { method: Method::POST, target: "/", headers, body: &body };
    let response = client.send(request).await.map_err(Refusal::Upstream)?;
    let status = response.status;
    let answer: Value = serde_json::from_str(&text(response, ANSWER_LIMIT).await?).unwrap_or_default();
    if status != StatusCode::OK {
        let code = answer["__type"].as_str().unwrap_or("no reason given").to_owned();
        return Err(DescribeError::Refused { status, code, action: format!("sagemaker:{operation}") });
    }
    let uri = answer["ArtifactStoreUri"].as_str().unwrap_or_default();
    ArtifactStore::parse(uri).map_err(|_| DescribeError::Elsewhere(uri.to_owned()))
}
