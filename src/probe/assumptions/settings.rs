//! The settings of a run, and what it reports while it runs.

use crate::aws::role::AssumedRole;
use crate::aws::sdk::Egress;
use crate::http::client::{Dialer, Endpoint};
use crate::mlflow::target::Target;

use super::super::settings::ProbedStore;
use super::catalog::Assumption;
use super::proof::ProvenAssumption;

/// Everything that a run needs, checked.
pub struct AssumptionSettings {
    /// The target.
    pub target: Target,
    /// Connects to the target's endpoint.
    pub dialer: Dialer,
    /// The role to assume.
    pub role: Option<AssumedRole>,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// The artifact store as configured; without one, the store that the SageMaker API names.
    pub artifacts: Option<ProbedStore>,
    /// The endpoint of the SageMaker API.
    pub sagemaker: Endpoint,
    /// The endpoint of STS.
    pub sts: Endpoint,
    /// The endpoint of IAM.
    pub iam: Endpoint,
    /// True if the run may create the scratch experiment and what belongs to it.
    pub may_write: bool,
    /// True if the run may create and use up a presigned URL of AWS's page.
    pub may_open_page: bool,
    /// The largest body to send. Bytes.
    pub largest_body: u64,
    /// Random text that makes the scratch experiment's name unique.
    pub suffix: String,
}

impl AssumptionSettings {
    /// The name of the scratch experiment.
    #[must_use]
    pub fn experiment(&self) -> String {
        format!("appliance-assumptions-{}", self.suffix)
    }
}

/// Something that a run reports at once.
pub enum AssumptionEvent<'a> {
    /// A test begins.
    Begins(&'static Assumption),
    /// A test has ended.
    Proven(&'a ProvenAssumption),
    /// The operator has interrupted the run.
    Interrupted,
    /// The run removes what it has created.
    Removing,
}

/// Something that a run has created and could not remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The object, as in `experiment 7`.
    pub what: String,
    /// The reason.
    pub why: String,
    /// The words of a command that removes it.
    pub command: Vec<String>,
}

/// The answers of MLflow to the routes of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFamily {
    /// The family, as in `traces`.
    pub family: &'static str,
    /// `answers`, `not found`, `denied`, `failed` or `not tested`.
    pub answer: &'static str,
    /// The request that decided; empty if there was none.
    pub request: String,
    /// The status of its answer.
    pub status: Option<u16>,
}

/// The results of a run.
#[derive(Debug, Default)]
pub struct AssumptionRun {
    /// All assumptions.
    pub proven: Vec<ProvenAssumption>,
    /// The families of routes.
    pub routes: Vec<RouteFamily>,
    /// The things that were created and are removed again.
    pub removed: Vec<String>,
    /// The things that were created and are still there.
    pub left: Vec<Leftover>,
    /// True if the operator interrupted the run.
    pub is_interrupted: bool,
}
