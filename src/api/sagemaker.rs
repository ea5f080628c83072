//! The SageMaker API: a request about one managed MLflow.

use actix_web::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use super::error::ApiError;
use super::json::{self, JsonCall};
use super::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;
use crate::mlflow::arn::{Arn, Mode};

/// The input that names the MLflow, in the form of its offering.
pub(super) fn about(arn: &Arn) -> Value {
    match arn.mode() {
        Mode::TrackingServer => json!({"TrackingServerName": arn.resource_name()}),
        Mode::App => json!({"Arn": arn.as_str()}),
    }
}

/// Calls an operation in the MLflow's region.
///
/// # Errors
/// [`ApiError`].
pub(super) async fn ask(
    arn: &Arn,
    (operation, input): (&str, &Value),
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<(StatusCode, Bytes), ApiError> {
    let name = format!("SageMaker.{operation}");
    let call = JsonCall { endpoint, region: arn.region(), service: "sagemaker", operation: &name, input };
    json::send(call, transport, credentials).await
}
