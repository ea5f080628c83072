//! The reports of the sandbox to the person who started it.

use std::path::PathBuf;
use std::time::Duration;

use super::roles::RoleToken;
use crate::mlflow::arn::Mode;
use crate::mlflow::target::Target;

/// Receives the reports of the sandbox; the command line implements it.
pub trait Reporter {
    /// Reports that a step has begun.
    fn step(&self, text: &str);
    /// Shows a line of a long step; an empty line ends the step.
    fn progress(&self, line: &str);
    /// Reports that the sandbox is ready.
    fn ready(&self, ready: &Ready);
    /// Reports that the sandbox has stopped, with the verified and rejected requests.
    fn stopped(&self, services: &[(Mode, u64, u64)], s3: (u64, u64));
}

/// The description of a sandbox that is ready.
#[derive(Debug)]
pub struct Ready {
    /// The targets of the appliance, one for each mode.
    pub targets: Vec<SandboxTarget>,
    /// The URL of the appliance.
    pub url: String,
    /// The URL of its admin listener.
    pub status: String,
    /// A token for each role.
    pub tokens: Vec<RoleToken>,
    /// The files of `--write-config`.
    pub configuration: Option<WrittenConfiguration>,
    /// The file of this program.
    pub program: PathBuf,
    /// The variables that make another appliance obtain its credentials here.
    pub environment: Vec<(&'static str, String)>,
    /// The URL of the emulated STS.
    pub sts: String,
    /// The URL of the emulated metadata service.
    pub imds: String,
    /// The URL of the emulated SageMaker API.
    pub sagemaker: String,
    /// The URL of the emulated S3.
    pub s3: String,
    /// The PEM file of the authority that signed the certificates of the endpoints.
    pub authority: PathBuf,
    /// The URL of the MLflow server.
    pub mlflow: String,
    /// A Python that has the MLflow client, if the sandbox knows one.
    pub python: Option<PathBuf>,
    /// The directory with the logs of all programs.
    pub logs: PathBuf,
    /// The lifetime of each set of credentials.
    pub credential_lifetime: Duration,
    /// The time from the command to this moment.
    pub took: Duration,
}

/// A target and the MLflow endpoint behind it.
#[derive(Debug)]
pub struct SandboxTarget {
    /// The emulated target.
    pub target: Target,
    /// The URL for clients.
    pub url: String,
    /// The endpoint that gets the signed requests; other signers can be tested there, too.
    pub endpoint: String,
}

/// A configuration with which another appliance runs against the sandbox.
#[derive(Debug)]
pub struct WrittenConfiguration {
    /// The configuration file.
    pub file: PathBuf,
    /// The token file.
    pub tokens: PathBuf,
    /// The URL of an appliance with this configuration.
    pub url: String,
    /// The URL of its admin listener.
    pub status: String,
}
