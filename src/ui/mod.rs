//! `ui`: a URL that opens the UI of a managed MLflow in one browser.
//!
//! The command first asks AWS for the state of the MLflow, if the identity may: a URL works once, and for a stopped server it
//! would be wasted on a page without an explanation.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::timeout;

use crate::api::Transport;
use crate::api::describe::{self, TargetState};
use crate::api::presign::{self, Lifetimes, PresignError};
use crate::aws::credentials::CurrentCredentials;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::{CredentialSource, SourceError};
use crate::http::client::Endpoint;
use crate::mlflow::arn::{Arn, Mode};
use crate::mlflow::target::Target;

/// The limit for obtaining credentials.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(30);

/// Everything that `ui` needs, checked.
pub struct UiSettings {
    /// The target whose UI is opened.
    pub target: Target,
    /// The endpoint of the SageMaker API.
    pub endpoint: Endpoint,
    /// Connects to that endpoint.
    pub transport: Transport,
    /// The role to assume.
    pub role: Option<AssumedRole>,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// The lifetimes of the URL and of the session.
    pub lifetimes: Lifetimes,
}

/// The reason why there is no URL.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// There are no credentials.
    #[error("{}", .0.detail())]
    Credentials(SourceError),
    /// No credentials were obtained within the limit.
    #[error("no AWS credentials were obtained within {}", humantime::format_duration(CREDENTIALS_LIMIT))]
    Late,
    /// The MLflow is not running.
    #[error("`{arn}` is not serving: its status is {status}")]
    NotServing {
        /// The ARN of the MLflow.
        arn: Arn,
        /// The status that AWS reports.
        status: String,
    },
    /// AWS returned no URL.
    #[error("cannot obtain a URL of the UI of `{arn}`")]
    Presign {
        /// The ARN of the MLflow.
        arn: Arn,
        /// The role that signed, if one is configured.
        role: Option<String>,
        /// The reason.
        source: PresignError,
    },
}

impl UiError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Credentials(error) => error.hint().to_owned(),
            Self::Late => {
                "check that STS, or the metadata service of this machine, can be reached from here".to_owned()
            }
            Self::NotServing { arn, status } => when_not_serving(arn, status),
            Self::Presign { arn, role, source } => match source {
                PresignError::Denied { operation, .. } => {
                    let whose = role.as_deref().unwrap_or("the identity that signs");
                    format!("allow `sagemaker:{operation}` on `{arn}` in the policy of {whose}", arn = arn.as_str())
                }
                PresignError::Missing(_) => {
                    "check the ARN, its region, account and name, and that the credentials are of that account"
                        .to_owned()
                }
                PresignError::Refused { code, .. } if code.contains("Expired") || code.contains("Signature") => {
                    "renew the credentials, with `aws sso login` for example, and check this machine's clock".to_owned()
                }
                PresignError::Refused { .. } if arn.mode() == Mode::TrackingServer => format!(
                    "check that the server is running: `aws sagemaker describe-mlflow-tracking-server \
                     --tracking-server-name {} --region {}`",
                    arn.resource_name(),
                    arn.region()
                ),
                PresignError::Refused { .. } => format!(
                    "check the status of the app: `aws sagemaker describe-mlflow-app --arn {} --region {}`",
                    arn.as_str(),
                    arn.region()
                ),
                PresignError::Unanswered(_) => {
                    "check the network between here and the SageMaker API (in a VPC it needs the endpoint \
                     `sagemaker.api`), `--ca-file` and `--sagemaker-endpoint`"
                        .to_owned()
                }
                PresignError::NoUrl => {
                    "check `--sagemaker-endpoint`: the program that listens there does not behave like AWS".to_owned()
                }
            },
        }
    }
}

fn when_not_serving(arn: &Arn, status: &str) -> String {
    let (name, region) = (arn.resource_name(), arn.region());
    match (arn.mode(), status) {
        (_, "Creating" | "Starting" | "Updating" | "Stopping" | "MaintenanceInProgress") => {
            "wait until AWS has finished, and run this again".to_owned()
        }
        (Mode::TrackingServer, "Deleting" | "CreateFailed") | (Mode::App, _) => {
            "name an existing one; `appliance targets` lists them".to_owned()
        }
        (Mode::TrackingServer, _) => format!(
            "start it with `aws sagemaker start-mlflow-tracking-server --tracking-server-name {name} --region {region}`, \
             and run this again when it is running"
        ),
    }
}

/// Obtains credentials as `serve` would, and with them a URL.
///
/// # Errors
/// [`UiError`].
pub async fn url(settings: &UiSettings) -> Result<SecretString, UiError> {
    let UiSettings { target, endpoint, transport, role, egress, lifetimes } = settings;
    let arn = target.arn();
    let config = sdk::load(arn.region(), egress).await;
    let source = CredentialSource::new(&config, role.clone());
    let obtained = timeout(CREDENTIALS_LIMIT, source.obtain(None)).await.map_err(|_| UiError::Late)?;
    let credentials = CurrentCredentials::holding(obtained.map_err(UiError::Credentials)?);
    // An identity that may not ask for the state obtains the URL all the same.
    if let Ok(TargetState { status, is_serving: false }) =
        describe::state(target, endpoint, transport, &credentials).await
    {
        return Err(UiError::NotServing { arn: arn.clone(), status });
    }
    presign::url(target, endpoint, transport, &credentials, *lifetimes).await.map_err(|source| UiError::Presign {
        arn: arn.clone(),
        role: role.as_ref().map(|role| role.arn.clone()),
        source,
    })
}
