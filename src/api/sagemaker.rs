//! The SageMaker API: a question about one managed MLflow.

use actix_web::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use super::json::{self, JsonCall};
use super::{ApiError, Transport};
use crate::aws::credentials::Current;
use crate::http::client::Endpoint;
use crate::mlflow::arn::{Arn, Mode};

/// A question that names the MLflow, as each of the two offerings is named.
pub(super) fn about(arn: &Arn) -> Value {
    match arn.mode() {
        Mode::TrackingServer => json!({"TrackingServerName": arn.resource_name()}),
        Mode::App => json!({"Arn": arn.as_str()}),
    }
}

/// Asks it in the MLflow's region.
///
/// # Errors
/// [`ApiError`].
pub(super) async fn ask(
    arn: &Arn,
    (operation, question): (&str, &Value),
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &Current,
) -> Result<(StatusCode, Bytes), ApiError> {
    let name = format!("SageMaker.{operation}");
    let call = JsonCall { endpoint, region: arn.region(), service: "sagemaker", operation: &name, question };
    json::send(call, transport, credentials).await
}
