//! Probes: test step by step what a caller's request will need from AWS, and name the missing permission and the policy.
//!
//! `check` shows the findings to people, and `bootstrap` waits until no probe fails. Each probe has a deadline, and each finding
//! an instruction.

mod artifacts;
#[cfg(feature = "assumptions")]
pub mod assumptions;
mod finding;
mod identity;
mod issuer;
mod logs;
mod mlflow;
mod network;
mod secrets;
mod settings;

use tokio::time::{Instant, timeout};

use crate::api::describe::StoreSource;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::regional_host;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::{self, Egress};
use crate::http::client::Endpoint;
pub use finding::{Finding, ProbeOutcome};
use settings::PROBE_LIMIT;
pub use settings::{ProbeSettings, ProbeTarget, ProbedIssuer, ProbedLogs, ProbedSecret, ProbedStore};

/// An identity that was probed, for further targets that use it.
struct ProbedIdentity<'a> {
    region: &'a str,
    role: Option<&'a AssumedRole>,
    credentials: Option<CurrentCredentials>,
}

/// Runs all probes and passes on each finding at once. Returns true if none is a failure.
pub async fn run(settings: &ProbeSettings, found: &mut dyn FnMut(Finding)) -> bool {
    let mut is_well = true;
    let mut note = |finding: Finding| {
        is_well &= finding.outcome != ProbeOutcome::Failure;
        found(finding);
    };
    let mut asked: Vec<Endpoint> = Vec::new();
    for subject in &settings.targets {
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
    let dialer = settings.targets.first().map(|subject| &subject.transport.dialer);
    for (ProbedIssuer { trusted, has_sign_on }, dialer) in settings.issuers.iter().zip(dialer.into_iter().cycle()) {
        let (name, mut discovery) = (&*trusted.issuer.name, None);
        let keys = async {
            let (finding, document) = issuer::probe(trusted, dialer).await;
            discovery = document;
            finding
        };
        note(timed("issuer", name, keys).await);
        if let Some(document) = discovery.filter(|_| *has_sign_on) {
            issuer::probe_endpoints(name, &document, dialer).await.into_iter().for_each(&mut note);
        }
    }
    let mut known: Vec<ProbedIdentity<'_>> = Vec::new();
    for subject in &settings.targets {
        let region = subject.target.arn().region();
        let role = subject.role.as_ref();
        let credentials = credentials((region, role), &mut known, &settings.egress, &mut note).await;
        let Some(credentials) = credentials else {
            note(Finding::skipped("target", &subject.name, "there are no credentials"));
            continue;
        };
        note(timed("target", &subject.name, mlflow::probe(subject, &credentials)).await);
        if let Some(store) = &subject.artifacts {
            let probe = artifacts::probe(subject, store, &credentials, settings.may_write);
            note(timed("artifacts", &subject.name, probe).await);
        }
    }
    for (secret, subject) in settings.secrets.iter().zip(settings.targets.iter().cycle()) {
        // The role of a target need not be able to read it.
        let credentials = credentials((&secret.stored.region, None), &mut known, &settings.egress, &mut note).await;
        note(match credentials {
            Some(credentials) => {
                let probe = secrets::probe(secret, &subject.transport, &credentials);
                timed(secrets::CHECK, &secret.option, probe).await
            }
            None => Finding::skipped(secrets::CHECK, &secret.option, "there are no credentials"),
        });
    }
    if let (Some(logs), Some(subject)) = (&settings.logs, settings.targets.first()) {
        let credentials = credentials((&logs.group.region, None), &mut known, &settings.egress, &mut note).await;
        note(match credentials {
            Some(credentials) => {
                let probe = logs::probe(logs, settings.may_write, &subject.transport, &credentials);
                timed(logs::CHECK, &logs.group.name, probe).await
            }
            None => Finding::skipped(logs::CHECK, &logs.group.name, "there are no credentials"),
        });
    }
    is_well
}

/// Returns the credentials of an identity, which it probes if it is a new one.
async fn credentials<'a>(
    (region, role): (&'a str, Option<&'a AssumedRole>),
    known: &mut Vec<ProbedIdentity<'a>>,
    egress: &Egress,
    note: &mut impl FnMut(Finding),
) -> Option<CurrentCredentials> {
    if let Some(same) = known.iter().find(|other| other.region == region && other.role == role) {
        return same.credentials.clone();
    }
    let config = sdk::load(region, egress).await;
    let (findings, credentials) = identity::probe(&config, role).await;
    findings.into_iter().for_each(note);
    known.push(ProbedIdentity { region, role, credentials: credentials.clone() });
    credentials
}

/// Returns the endpoints that a target needs, with their purposes.
fn endpoints(settings: &ProbeSettings, subject: &ProbeTarget) -> Vec<(&'static str, Endpoint)> {
    let region = subject.target.arn().region();
    let regional = |service| Endpoint::https(regional_host(service, region));
    let mut all = vec![("MLflow", subject.transport.dialer.endpoint().clone())];
    if subject.role.is_some() {
        all.push(("STS", settings.sts_endpoint.clone().unwrap_or_else(|| regional("sts"))));
    }
    all.extend(settings.secrets.iter().map(|secret| (secret.stored.place(), secret.stored.endpoint.clone())));
    all.extend(settings.logs.iter().map(|logs| ("CloudWatch Logs", logs.group.endpoint.clone())));
    all.extend(settings.identity_endpoints.iter().map(|endpoint| ("STS", endpoint.clone())));
    if let Some(artifacts) = &subject.artifacts {
        all.push(match &artifacts.store_source {
            StoreSource::Described(sagemaker) => ("the SageMaker API", sagemaker.clone()),
            StoreSource::Known(_) => ("S3", artifacts.s3_endpoint.clone().unwrap_or_else(|| regional("s3"))),
        });
    }
    all
}

/// Runs a probe within the limit, and returns its finding with the duration.
async fn timed(check: &'static str, subject: &str, probe: impl Future<Output = Finding>) -> Finding {
    let began = Instant::now();
    let finding = timeout(PROBE_LIMIT, probe).await.unwrap_or_else(|_| {
        let fix = "check the network between this machine and AWS: security groups, routes, VPC endpoints";
        Finding::failure(check, subject, format!("there was no answer within {PROBE_LIMIT:?}"), fix)
    });
    Finding { took: began.elapsed(), ..finding }
}
