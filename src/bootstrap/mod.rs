//! `bootstrap`: an instance that knows only its metadata service becomes a ready appliance.
//!
//! Gather → plan → apply → signal. Bootstrap installs, downloads and executes nothing: user data, tags and parameters are data.
//! Every wait has a deadline, and CloudFormation and Auto Scaling get a readiness signal with the result.

mod balancer;
mod dry_run;
mod error;
mod gather;
pub mod install;
mod parameters;
mod plan;
mod ready;
mod services;
mod settings;
mod signal;
mod socket_unit;
mod sources;
mod state;
mod status;
mod tags;
pub mod user_data;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::probe::{self, Finding, ProbeOutcome, ProbeSettings};
pub use dry_run::{DryRun, dry_run};
pub use error::BootstrapError;
use gather::InstanceFacts;
use plan::{Plan, ReadinessSignals, with_origins};
pub use ready::ListenAddress;
use services::imds;
pub use settings::{BootstrapSettings, ConfigurationReader, Say, ServiceEndpoints, UsableConfiguration};
use state::{BootstrapRecord, StateDirectory};
pub use status::{InstanceStatus, status};

/// The wait between two rounds of probes doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Makes the instance ready for `serve` to start. If that fails, it sends failure signals.
///
/// # Errors
/// [`BootstrapError`].
pub async fn run(
    settings: &BootstrapSettings,
    reader: &dyn ConfigurationReader,
    say: Say<'_>,
) -> Result<(), BootstrapError> {
    let imds = imds(settings);
    let facts = gather::gather(settings, &imds, say).await?;
    let state = StateDirectory::new(&settings.state);
    let identity = &facts.identity;
    say(&format!("instance {} in {}, account {}", identity.instance, identity.zone, identity.account));
    // Without it, this is a first start, which sends its signals again.
    let earlier = state.record(Some(&identity.instance)).unwrap_or_default();
    let plan = facts.plan(reader, say);
    let mut record = BootstrapRecord::of(&plan, &identity.instance, &identity.region);
    record.sent = earlier.as_ref().map(|earlier| earlier.sent.clone()).unwrap_or_default();

    let result = apply(settings, &facts, &plan, &state, (&mut record, earlier.as_ref()), reader, say).await;
    if let Err(error) = &result {
        let reason = crate::error_chain::joined(error);
        say(&format!("failed: {reason}"));
        signal::send_all(settings, &record.signals, identity, Err(&reason), &mut record.sent, say).await;
        record.failure = Some(reason);
    }
    if let Err(source) = state.write_record(&record)
        && result.is_ok()
    {
        return Err(BootstrapError::Write { path: settings.state.clone(), source });
    }
    result
}

async fn apply(
    settings: &BootstrapSettings,
    facts: &InstanceFacts,
    plan: &Plan,
    state: &StateDirectory,
    (record, earlier): (&mut BootstrapRecord, Option<&BootstrapRecord>),
    reader: &dyn ConfigurationReader,
    say: Say<'_>,
) -> Result<(), BootstrapError> {
    let reading = if let Some((why, earlier, text)) = kept(facts, state, earlier) {
        say(&format!("the configuration of the last start stays in use, because the parameters cannot be read: {why}"));
        record.values.clone_from(&earlier.values);
        record.signals = earlier.signals.clone();
        // The lines of the earlier file differ from those of the plan.
        let without_origin = |problems| BootstrapError::Configuration(with_origins(problems, &Plan::default()));
        reader.read(&text).map_err(without_origin)?
    } else {
        let reading = facts.checked(plan, reader, &settings.units, facts.without_parameters.as_ref())?;
        for change in earlier.map(|earlier| record.changes(earlier)).unwrap_or_default() {
            say(&format!("changed since the last start: {change}"));
        }
        let written = state.write_configuration(&plan.text);
        let written = written.map_err(|source| BootstrapError::Write { path: settings.state.clone(), source })?;
        let what = if written { "was written" } else { "is unchanged" };
        say(&format!(
            "the configuration {what}: {} values in `{}`",
            plan.entries.len(),
            state.configuration().display()
        ));
        reading
    };
    verify(settings, &reading.probes, say).await
}

/// Returns the configuration of the last start and the reason to use it: the instance is the same, and only the parameters cannot
/// be read.
fn kept<'a>(
    facts: &'a InstanceFacts,
    state: &StateDirectory,
    earlier: Option<&'a BootstrapRecord>,
) -> Option<(&'a str, &'a BootstrapRecord, String)> {
    let why = facts.without_parameters.as_deref()?;
    let earlier = earlier.filter(|earlier| !earlier.values.is_empty() && facts.faults.is_empty())?;
    Some((why, earlier, std::fs::read_to_string(state.configuration()).ok()?))
}

/// Probes until nothing fails: a role that was just created takes a while to take effect.
async fn verify(settings: &BootstrapSettings, probes: &ProbeSettings, say: Say<'_>) -> Result<(), BootstrapError> {
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let mut last = Vec::new();
    loop {
        let wait = backoff.wait();
        let mut failures = Vec::new();
        let mut note = |finding: Finding| {
            if finding.outcome == ProbeOutcome::Failure {
                let fix = finding.fix.map(|fix| format!("; {fix}")).unwrap_or_default();
                failures.push(format!("{} {}: {}{fix}", finding.check, finding.subject, finding.text));
            }
        };
        if probe::run(probes, &mut note).await {
            say("AWS grants access: the identity, the role and the target were tested");
            return Ok(());
        }
        if failures != last {
            for failure in &failures {
                say(&format!("waiting: {failure}"));
            }
            last = failures;
        }
        if Instant::now() + wait >= settings.deadline {
            return Err(BootstrapError::Probe(last.join("; ")));
        }
        sleep(wait).await;
    }
}

/// Waits until the appliance is ready, and sends the readiness signals.
///
/// # Errors
/// [`BootstrapError`].
pub async fn signal(
    settings: &BootstrapSettings,
    reader: &dyn ConfigurationReader,
    say: Say<'_>,
) -> Result<(), BootstrapError> {
    let state = StateDirectory::new(&settings.state);
    let identity = imds(settings).identity().await?;
    let mut record = state.record(Some(&identity.instance))?.ok_or(BootstrapError::NoRecord)?;
    let text = state.configuration_text()?.ok_or(BootstrapError::NoRecord)?;
    let mut outcome = match reader.read(&text) {
        Ok(reading) => ready::wait(&reading.listen, &settings.transport, settings.deadline).await,
        Err(problems) => Err(with_origins(problems, &Plan::default()).join("; ")),
    };
    let signals = record.signals.clone();
    if outcome.is_ok() {
        say("the appliance is ready");
        if let Some(group) = &signals.target_group
            && signal::is_pending(&signals, &record.sent)
        {
            // Auto Scaling registers an instance with the balancer only when its hook is complete.
            let hook = ReadinessSignals { lifecycle: signals.lifecycle.clone(), ..ReadinessSignals::default() };
            signal::send_all(settings, &hook, &identity, Ok(()), &mut record.sent, say).await;
            outcome = balancer::wait(settings, group, &identity, say).await;
        }
    }
    if let Err(reason) = &outcome {
        say(&format!("failed: {reason}"));
    }
    let result = outcome.as_ref().copied().map_err(String::as_str);
    let are_all_sent = signal::send_all(settings, &signals, &identity, result, &mut record.sent, say).await;
    record.failure = outcome.as_ref().err().cloned();
    // If this fails, the next start sends the same signals again, which does no harm.
    drop(state.write_record(&record));
    outcome.map_err(BootstrapError::Ready)?;
    if are_all_sent { Ok(()) } else { Err(BootstrapError::SignalsNotSent) }
}

/// Returns true on an EC2 instance, by the firmware and without the network.
#[must_use]
pub fn is_instance() -> bool {
    let says = |path: &str, what: &str| std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(what));
    says("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2") || says("/sys/hypervisor/uuid", "ec2")
}
