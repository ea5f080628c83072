//! Probes: asks of AWS, step by step, what a request of a caller will need, and says what is missing in whose policy.
//!
//! `check` shows them to people, `bootstrap` waits until they succeed. Each has a deadline, and each says what to do.

mod artifacts;
mod identity;
mod mlflow;
mod network;

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::api::Transport;
use crate::api::describe::ArtifactLocation;
use crate::aws::credentials::Current;
use crate::aws::regional_host;
use crate::aws::role::Role;
use crate::aws::sdk::{self, Egress};
use crate::http::client::Endpoint;
use crate::mlflow::target::Target;

/// One probe takes no longer.
const LIMIT: Duration = Duration::from_secs(20);

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warning,
    /// It does not work.
    Failure,
    /// It could not be looked at, because something before it failed or it is not configured.
    Skipped,
}

/// What a probe found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at, as one word that stays the same.
    pub check: &'static str,
    /// Of what: a target, a host, a file; empty for the appliance itself.
    pub subject: String,
    /// How it was found.
    pub outcome: Outcome,
    /// What was found, as a clause.
    pub text: String,
    /// What to do about it, as an instruction.
    pub fix: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, subject: &str, text: impl Into<String>) -> Self {
        Self::new(check, subject, Outcome::Ok, text.into(), None)
    }

    /// Somebody should look at it.
    #[must_use]
    pub fn warning(check: &'static str, subject: &str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, subject, Outcome::Warning, text.into(), Some(fix.into()))
    }

    /// It does not work.
    #[must_use]
    pub fn failure(check: &'static str, subject: &str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, subject, Outcome::Failure, text.into(), Some(fix.into()))
    }

    /// It was not looked at.
    #[must_use]
    pub fn skipped(check: &'static str, subject: &str, text: impl Into<String>) -> Self {
        Self::new(check, subject, Outcome::Skipped, text.into(), None)
    }

    fn new(check: &'static str, subject: &str, outcome: Outcome, text: String, fix: Option<String>) -> Self {
        Self { check, subject: subject.to_owned(), outcome, text, fix, took: Duration::ZERO }
    }
}

/// One managed MLflow to be probed.
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub target: Target,
    /// How it is connected to, and AWS's other services.
    pub transport: Transport,
    /// The role to assume.
    pub role: Option<Role>,
    /// Where its artifacts are, if the gateway is on.
    pub artifacts: Option<Artifacts>,
}

/// A gateway's store.
pub struct Artifacts {
    /// Where it is, or whom to ask.
    pub place: ArtifactLocation,
    /// Another endpoint than the region's.
    pub s3_endpoint: Option<Endpoint>,
    /// The key for new objects.
    pub kms_key: Option<String>,
}

/// What all probes share.
pub struct Settings {
    /// The managed MLflows.
    pub subjects: Vec<Subject>,
    /// Another endpoint than the region's STS.
    pub sts_endpoint: Option<Endpoint>,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// Whether the artifact store may be written to: an object is made and removed.
    pub may_write: bool,
}

/// What was found out about an identity, for further targets that use it.
struct Known<'a> {
    region: &'a str,
    role: Option<&'a Role>,
    credentials: Option<Current>,
}

/// Runs all probes and hands over each finding as it is made; true if none is a failure.
pub async fn run(settings: &Settings, found: &mut dyn FnMut(Finding)) -> bool {
    let mut is_well = true;
    let mut note = |finding: Finding| {
        is_well &= finding.outcome != Outcome::Failure;
        found(finding);
    };
    let mut asked: Vec<Endpoint> = Vec::new();
    for subject in &settings.subjects {
        for (purpose, endpoint) in endpoints(settings, subject) {
            if asked.contains(&endpoint) {
                continue;
            }
            asked.push(endpoint.clone());
            for finding in network::probe(purpose, &endpoint, &subject.transport).await {
                note(finding);
            }
        }
    }
    let mut known: Vec<Known<'_>> = Vec::new();
    for subject in &settings.subjects {
        let region = subject.target.arn().region();
        let role = subject.role.as_ref();
        let same = known.iter().find(|other| other.region == region && other.role == role);
        let credentials = if let Some(same) = same {
            same.credentials.clone()
        } else {
            let config = sdk::load(region, &settings.egress).await;
            let (findings, credentials) = identity::probe(&config, role).await;
            findings.into_iter().for_each(&mut note);
            known.push(Known { region, role, credentials: credentials.clone() });
            credentials
        };
        let Some(credentials) = credentials else {
            note(Finding::skipped("target", &subject.name, "there are no credentials to ask with"));
            continue;
        };
        note(timed("target", &subject.name, mlflow::probe(subject, &credentials)).await);
        if let Some(store) = &subject.artifacts {
            let probe = artifacts::probe(subject, store, &credentials, settings.may_write);
            note(timed("artifacts", &subject.name, probe).await);
        }
    }
    is_well
}

/// All that is connected to for a subject, and what for.
fn endpoints(settings: &Settings, subject: &Subject) -> Vec<(&'static str, Endpoint)> {
    let region = subject.target.arn().region();
    let regional = |service| Endpoint::https(regional_host(service, region));
    let mut all = vec![("MLflow", subject.transport.dialer.endpoint().clone())];
    if subject.role.is_some() {
        all.push(("STS", settings.sts_endpoint.clone().unwrap_or_else(|| regional("sts"))));
    }
    if let Some(artifacts) = &subject.artifacts {
        all.push(match &artifacts.place {
            ArtifactLocation::Described(sagemaker) => ("the SageMaker API", sagemaker.clone()),
            ArtifactLocation::Known(_) => ("S3", artifacts.s3_endpoint.clone().unwrap_or_else(|| regional("s3"))),
        });
    }
    all
}

/// A probe's finding with its time, or that it took too long.
async fn timed(check: &'static str, subject: &str, probe: impl Future<Output = Finding>) -> Finding {
    let began = Instant::now();
    let finding = timeout(LIMIT, probe).await.unwrap_or_else(|_| {
        let fix = "look at the network between here and AWS: security groups, routes, VPC endpoints";
        Finding::failure(check, subject, format!("there was no answer within {LIMIT:?}"), fix)
    });
    Finding { took: began.elapsed(), ..finding }
}
