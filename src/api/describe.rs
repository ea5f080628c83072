//! The SageMaker API: the artifact store of an MLflow, and its state.

use actix_web::http::StatusCode;
use serde_json::Value;

use super::error::ApiError;
use super::transport::Transport;
use super::{json, sagemaker};
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;

/// The artifact store of a target, or the API that knows it.
#[derive(Clone)]
pub enum StoreSource {
    /// The configuration names it.
    Known(ArtifactStore),
    /// The SageMaker API at this endpoint knows it.
    Described(Endpoint),
}

/// The reason why the artifact store is not known.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// The service did not answer.
    #[error(transparent)]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error("the SageMaker API answered {status} ({code}); `{action}` on the target is needed")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// AWS's name for the error.
        code: String,
        /// The IAM action.
        action: String,
    },
    /// The artifact store is not on S3.
    #[error("the artifact store of the target is `{0}`, which is not on S3")]
    Elsewhere(String),
}

/// The state of a managed MLflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// AWS's name of the status, as in `Stopped`.
    pub status: String,
    /// True if it serves requests.
    pub is_serving: bool,
}

/// Asks for the artifact store of a target.
///
/// # Errors
/// [`DescribeError`].
pub async fn artifact_store(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<ArtifactStore, DescribeError> {
    let answer = describe(target, endpoint, transport, credentials).await?;
    let uri = answer["ArtifactStoreUri"].as_str().unwrap_or_default();
    ArtifactStore::parse(uri).map_err(|_| DescribeError::Elsewhere(uri.to_owned()))
}

/// Asks for the state of a target.
///
/// # Errors
/// [`DescribeError`].
pub async fn state(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<TargetState, DescribeError> {
    let answer = describe(target, endpoint, transport, credentials).await?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    Ok(match target.arn().mode() {
        // An update leaves a server active; only `IsActive` says whether it is there.
        Mode::TrackingServer => {
            TargetState { status: text("TrackingServerStatus"), is_serving: text("IsActive") != "Inactive" }
        }
        Mode::App => {
            let status = text("Status");
            let is_serving = !matches!(status.as_str(), "Creating" | "CreateFailed" | "Deleting" | "Deleted");
            TargetState { status, is_serving }
        }
    })
}

/// Asks for the ARN of the role with which a target acts, if AWS names one.
///
/// # Errors
/// [`DescribeError`].
pub async fn service_role(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<Option<String>, DescribeError> {
    let answer = describe(target, endpoint, transport, credentials).await?;
    Ok(answer["RoleArn"].as_str().map(ToOwned::to_owned))
}

async fn describe(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<Value, DescribeError> {
    let arn = target.arn();
    let operation = match arn.mode() {
        Mode::TrackingServer => "DescribeMlflowTrackingServer",
        Mode::App => "DescribeMlflowApp",
    };
    let input = sagemaker::about(arn);
    let (status, answer) = sagemaker::ask(arn, (operation, &input), endpoint, transport, credentials).await?;
    if status != StatusCode::OK {
        let code = json::error_code(&answer);
        return Err(DescribeError::Refused { status, code, action: format!("sagemaker:{operation}") });
    }
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}
