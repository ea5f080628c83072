//! `ui`: a URL that lets one browser into the UI of a managed MLflow.
//!
//! AWS is asked first how the MLflow is, as far as the identity may ask: a URL works once, and one of a server that has
//! been stopped would be lost on a page that says nothing.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::timeout;

use crate::api::Transport;
use crate::api::describe::{self, TargetState};
use crate::api::presign::{self, Lifetimes, PresignError};
use crate::aws::credentials::Current;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::{CredentialSource, SourceError};
use crate::http::client::Endpoint;
use crate::mlflow::arn::{Arn, Mode};
use crate::mlflow::target::Target;

/// Credentials take no longer.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(30);

/// What is asked for, and of whom.
pub struct Settings {
    /// Whose UI.
    pub target: Target,
    /// Where the SageMaker API is.
    pub endpoint: Endpoint,
    /// How it is connected to.
    pub transport: Transport,
    /// The role to assume.
    pub role: Option<AssumedRole>,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// How long URL and session hold.
    pub lifetimes: Lifetimes,
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Nothing to sign with.
    #[error("{}", .0.detail())]
    Credentials(SourceError),
    /// The same, and nobody said so.
    #[error("no AWS credentials were obtained within {}", humantime::format_duration(CREDENTIALS_LIMIT))]
    Late,
    /// It has no UI at the moment.
    #[error("`{arn}` is not serving: its status is {status}")]
    NotServing {
        /// Which MLflow.
        arn: Arn,
        /// In AWS's word.
        status: String,
    },
    /// AWS makes no URL.
    #[error("cannot obtain a URL of the UI of `{arn}`")]
    Presign {
        /// Which MLflow.
        arn: Arn,
        /// Who asked, as far as that is known.
        role: Option<String>,
        /// Why.
        source: PresignError,
    },
}

impl UiError {
    /// What to do about it, as an instruction.
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
                    "see whether the server is running: `aws sagemaker describe-mlflow-tracking-server \
                     --tracking-server-name {} --region {}`",
                    arn.resource_name(),
                    arn.region()
                ),
                PresignError::Refused { .. } => format!(
                    "see how the app is: `aws sagemaker describe-mlflow-app --arn {} --region {}`",
                    arn.as_str(),
                    arn.region()
                ),
                PresignError::Unanswered(_) => {
                    "check the network between here and the SageMaker API (in a VPC it needs the endpoint \
                     `sagemaker.api`), `--ca-file` and `--sagemaker-endpoint`"
                        .to_owned()
                }
                PresignError::NoUrl => {
                    "check `--sagemaker-endpoint`: what listens there does not behave like AWS".to_owned()
                }
            },
        }
    }
}

fn when_not_serving(arn: &Arn, status: &str) -> String {
    let (name, region) = (arn.resource_name(), arn.region());
    match (arn.mode(), status) {
        (_, "Creating" | "Starting" | "Updating" | "Stopping" | "MaintenanceInProgress") => {
            "wait until AWS is done with it, and run this again".to_owned()
        }
        (Mode::TrackingServer, "Deleting" | "CreateFailed") | (Mode::App, _) => {
            "name one that is there: `aws sagemaker list-mlflow-tracking-servers`, `aws sagemaker list-mlflow-apps`"
                .to_owned()
        }
        (Mode::TrackingServer, _) => format!(
            "start it with `aws sagemaker start-mlflow-tracking-server --tracking-server-name {name} --region {region}`, \
             and run this again when it is up"
        ),
    }
}

/// Obtains credentials as `serve` would, and with them a URL.
///
/// # Errors
/// [`UiError`].
pub async fn url(settings: &Settings) -> Result<SecretString, UiError> {
    let Settings { target, endpoint, transport, role, egress, lifetimes } = settings;
    let arn = target.arn();
    let config = sdk::load(arn.region(), egress).await;
    let source = CredentialSource::new(&config, role.clone());
    let obtained = timeout(CREDENTIALS_LIMIT, source.obtain(None)).await.map_err(|_| UiError::Late)?;
    let credentials = Current::holding(obtained.map_err(UiError::Credentials)?);
    // Who may not ask is not told; the URL is obtained all the same.
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
