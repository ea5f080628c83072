//! What is told to whoever started the sandbox.

use std::path::PathBuf;
use std::time::Duration;

use crate::mlflow::arn::Mode;
use crate::mlflow::target::Target;

/// Where the sandbox tells what it is doing; whoever owns the terminal implements it.
pub trait Report {
    /// A step has begun.
    fn step(&self, text: &str);
    /// A passing line of a long step; an empty one ends them.
    fn progress(&self, line: &str);
    /// All is up.
    fn ready(&self, ready: &Ready);
    /// All is down.
    fn stopped(&self, doors: &[(Mode, u64, u64)], s3: (u64, u64));
}

/// What to tell a user once all is up.
#[derive(Debug)]
pub struct Ready {
    /// One for each mode.
    pub appliances: Vec<Running>,
    /// The pretended STS.
    pub sts: String,
    /// The pretended metadata service.
    pub imds: String,
    /// The pretended SageMaker API.
    pub sagemaker: String,
    /// The pretended S3.
    pub s3: String,
    /// PEM file of the authority to trust when talking to a front door or to STS.
    pub authority: PathBuf,
    /// The MLflow behind.
    pub mlflow: String,
    /// A Python that has the MLflow client, if the sandbox knows one.
    pub python: Option<PathBuf>,
    /// Where the logs of all programs are.
    pub logs: PathBuf,
    /// How long each set of credentials lives.
    pub credential_lifetime: Duration,
    /// From the command to this moment.
    pub took: Duration,
}

/// A running appliance and the front door behind it.
#[derive(Debug)]
pub struct Running {
    /// What it pretends to call.
    pub target: Target,
    /// Where clients connect.
    pub url: String,
    /// Where its signed requests go; other signers may be tried there, too.
    pub front_door: String,
}
