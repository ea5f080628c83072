//! The SageMaker API: where an MLflow keeps its artifacts, and whether it is running.

use actix_web::http::StatusCode;
use serde_json::Value;

use super::{ApiError, Transport, json, sagemaker};
use crate::aws::credentials::Current;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;

/// Where artifacts are, or how to find out.
#[derive(Clone)]
pub enum ArtifactLocation {
    /// Said in the configuration.
    Known(ArtifactStore),
    /// To be asked of the SageMaker API at this endpoint.
    Described(Endpoint),
}

/// Why the location is not known.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// No answer.
    #[error(transparent)]
    Unanswered(#[from] ApiError),
    /// AWS refused.
    #[error("the SageMaker API answered {status} ({code}); `{action}` on the target is needed")]
    Refused {
        /// With this status.
        status: StatusCode,
        /// AWS's name for the error.
        code: String,
        /// The IAM action.
        action: String,
    },
    /// It is on no S3.
    #[error("the artifact store of the target is `{0}`, which is not on S3")]
    Elsewhere(String),
}

/// How a managed MLflow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// In AWS's word, as in `Stopped`.
    pub status: String,
    /// Whether it answers.
    pub is_serving: bool,
}

/// Asks where the artifacts of a target are.
///
/// # Errors
/// [`DescribeError`].
pub async fn artifact_store(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &Current,
) -> Result<ArtifactStore, DescribeError> {
    let answer = describe(target, endpoint, transport, credentials).await?;
    let uri = answer["ArtifactStoreUri"].as_str().unwrap_or_default();
    ArtifactStore::parse(uri).map_err(|_| DescribeError::Elsewhere(uri.to_owned()))
}

/// Asks how a target is.
///
/// # Errors
/// [`DescribeError`].
pub async fn state(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &Current,
) -> Result<State, DescribeError> {
    let answer = describe(target, endpoint, transport, credentials).await?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    Ok(match target.arn().mode() {
        // An update leaves a server active; only `IsActive` says whether it is there.
        Mode::TrackingServer => {
            State { status: text("TrackingServerStatus"), is_serving: text("IsActive") != "Inactive" }
        }
        Mode::App => {
            let status = text("Status");
            let is_serving = !matches!(status.as_str(), "Creating" | "CreateFailed" | "Deleting" | "Deleted");
            State { status, is_serving }
        }
    })
}

async fn describe(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &Current,
) -> Result<Value, DescribeError> {
    let arn = target.arn();
    let operation = match arn.mode() {
        Mode::TrackingServer => "DescribeMlflowTrackingServer",
        Mode::App => "DescribeMlflowApp",
    };
    let question = sagemaker::about(arn);
    let (status, answer) = sagemaker::ask(arn, (operation, &question), endpoint, transport, credentials).await?;
    if status != StatusCode::OK {
        let code = json::error_code(&answer);
        return Err(DescribeError::Refused { status, code, action: format!("sagemaker:{operation}") });
    }
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}
