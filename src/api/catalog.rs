//! The SageMaker API: the managed MLflows of an account in a region, in as many pages as it takes.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiError;
use super::json::{self, JsonCall};
use super::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;

/// An account has tens of them. A list with more pages, of 100 each, does not end.
const PAGE_LIMIT: usize = 50;

/// A managed MLflow, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMlflow {
    /// Its kind.
    pub mode: Mode,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// AWS's name of its status. A tracking server that is stopped is inactive.
    pub status: String,
    /// The version of MLflow.
    pub version: String,
}

/// The reason why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The service did not answer.
    #[error("the SageMaker API did not answer")]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error("the SageMaker API answered {code} to `{action}`: {message}")]
    Refused {
        /// AWS's name for the error.
        code: String,
        /// AWS's text.
        message: String,
        /// The IAM action.
        action: String,
    },
    /// The answer is no list, or has no end.
    #[error("the answer to `{0}` cannot be understood")]
    Answer(String),
}

/// Lists the MLflows of one kind.
///
/// # Errors
/// [`CatalogError`].
pub async fn list(
    mode: Mode,
    (endpoint, region): (&Endpoint, &str),
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Result<Vec<ListedMlflow>, CatalogError> {
    let (operation, list) = match mode {
        Mode::TrackingServer => ("ListMlflowTrackingServers", "TrackingServerSummaries"),
        Mode::App => ("ListMlflowApps", "Summaries"),
    };
    let (target, action) = (format!("SageMaker.{operation}"), format!("sagemaker:{operation}"));
    let mut input = json!({"MaxResults": 100});
    let mut all = Vec::new();
    for _ in 0..PAGE_LIMIT {
        let call = JsonCall { endpoint, region, service: "sagemaker", operation: &target, input: &input };
        let (status, answer) = json::send(call, transport, credentials).await?;
        if status != StatusCode::OK {
            let message = json::error_message(&answer).chars().take(400).collect();
            return Err(CatalogError::Refused { code: json::error_code(&answer), message, action });
        }
        let page: Value = serde_json::from_slice(&answer).map_err(|_| CatalogError::Answer(action.clone()))?;
        let entries = page[list].as_array().ok_or_else(|| CatalogError::Answer(action.clone()))?;
        all.extend(entries.iter().map(|entry| listed(mode, entry)));
        match page["NextToken"].as_str() {
            Some(next) if !next.is_empty() => input["NextToken"] = next.into(),
            _ => return Ok(all),
        }
    }
    Err(CatalogError::Answer(action))
}

fn listed(mode: Mode, entry: &Value) -> ListedMlflow {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let version = text("MlflowVersion");
    match mode {
        Mode::TrackingServer => ListedMlflow {
            mode,
            name: text("TrackingServerName"),
            arn: text("TrackingServerArn"),
            status: text("TrackingServerStatus"),
            version,
        },
        Mode::App => ListedMlflow { mode, name: text("Name"), arn: text("Arn"), status: text("Status"), version },
    }
}
