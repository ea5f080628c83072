//! `bootstrap`: an instance that knows nothing but its metadata service becomes a ready appliance.
//!
//! Gather → plan → apply → report. Nothing is installed, downloaded or executed: what others say is data. Every wait
//! has a deadline, and whoever waits for this instance is told how it went.

mod balancer;
mod explain;
mod gather;
pub mod install;
mod plan;
mod ready;
mod signal;
mod sources;
mod state;
mod status;
mod tags;
pub mod user_data;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::Transport;
use crate::api::imds::{ImdsClient, ImdsError};
use crate::aws::credentials::Current;
use crate::aws::regional_host;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::CredentialSource;
use crate::backoff::Backoff;
use crate::http::client::{Dialer, Endpoint};
use crate::probe::{self, Finding, Outcome};
pub use explain::{Explained, explain};
use gather::Facts;
use plan::{Plan, Signals};
pub use ready::Door;
use state::{Record, State};
pub use status::{Standing, status};

/// The wait between two rounds of probes doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Where lines for people go.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// Everything that `bootstrap` needs, checked.
pub struct Settings {
    /// Opens connections to the metadata service.
    pub metadata: Dialer,
    /// Until when it is waited for.
    pub metadata_deadline: Instant,
    /// How AWS's services are connected to.
    pub transport: Transport,
    /// Other endpoints than the region's.
    pub services: Services,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// The image's own configuration, whose values are used where nobody says otherwise.
    pub defaults: Option<PathBuf>,
    /// Where the configuration and the record are written.
    pub state: PathBuf,
    /// Until when everything has to be well.
    pub deadline: Instant,
}

/// Other endpoints than the region's.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Auto Scaling.
    pub auto_scaling: Option<Endpoint>,
    /// Elastic Load Balancing.
    pub load_balancing: Option<Endpoint>,
    /// CloudFormation.
    pub cloudformation: Option<Endpoint>,
    /// The Parameter Store.
    pub ssm: Option<Endpoint>,
}

/// Reads a configuration as `serve` does.
pub trait Reader {
    /// What the configuration means; or what is wrong, each with its line if it has one.
    ///
    /// # Errors
    /// All problems.
    fn read(&self, text: &str) -> Result<Reading, Vec<(Option<usize>, String)>>;
}

/// A configuration that can be used.
pub struct Reading {
    /// What to probe.
    pub probes: probe::Settings,
    /// Where the appliance will be found.
    pub door: Door,
}

/// Why the instance is not ready.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// It is not known what this machine is.
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    /// Somebody has to change what they said.
    #[error("the configuration cannot be used: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The parameters are not known.
    #[error("the parameters cannot be read: {0}")]
    Parameters(String),
    /// A file cannot be written.
    #[error("cannot write to `{}`", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// AWS does not let us.
    #[error("{0}")]
    Probe(String),
    /// The appliance did not become ready.
    #[error("{0}")]
    Ready(String),
    /// There is nothing to signal about.
    #[error("`appliance bootstrap` has not run on this instance")]
    NoRecord,
    /// Somebody still waits.
    #[error("not everybody could be told")]
    Untold,
}

/// Makes the instance ready for `serve` to start; if that cannot be, whoever waits is told so.
///
/// # Errors
/// [`BootstrapError`].
pub async fn run(settings: &Settings, reader: &dyn Reader, say: Say<'_>) -> Result<(), BootstrapError> {
    let imds = imds(settings);
    let facts = gather::gather(settings, &imds, say).await?;
    let state = State::new(&settings.state);
    let identity = &facts.identity;
    say(&format!("instance {} in {}, account {}", identity.instance, identity.zone, identity.account));
    let earlier = state.record(Some(&identity.instance));
    let plan = facts.plan(reader, say);
    let mut record = Record::of(&plan, &identity.instance, &identity.region);
    record.told = earlier.as_ref().map(|earlier| earlier.told.clone()).unwrap_or_default();

    let result = apply(settings, &facts, &plan, &state, (&mut record, earlier.as_ref()), reader, say).await;
    if let Err(error) = &result {
        let reason = crate::error_chain::joined(error);
        say(&format!("failed: {reason}"));
        signal::tell(settings, &record.signals, identity, Err(&reason), &mut record.told, say).await;
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
    settings: &Settings,
    facts: &Facts,
    plan: &Plan,
    state: &State,
    (record, earlier): (&mut Record, Option<&Record>),
    reader: &dyn Reader,
    say: Say<'_>,
) -> Result<(), BootstrapError> {
    let reading = if let Some((why, earlier, text)) = kept(facts, state, earlier) {
        say(&format!("keeping the configuration of the last start: the parameters cannot be read: {why}"));
        record.values.clone_from(&earlier.values);
        record.signals = earlier.signals.clone();
        // Its lines are not those of the plan.
        let unplaced = |problems| BootstrapError::Configuration(texts(problems, &Plan::default()));
        reader.read(&text).map_err(unplaced)?
    } else {
        let reading = facts.checked(plan, reader, facts.without_parameters.as_ref())?;
        for change in earlier.map(|earlier| record.changes(earlier)).unwrap_or_default() {
            say(&format!("changed since the last start: {change}"));
        }
        let written = state.write_configuration(&plan.text);
        let written = written.map_err(|source| BootstrapError::Write { path: settings.state.clone(), source })?;
        let what = if written { "written" } else { "unchanged" };
        say(&format!("configuration {what}: {} values in `{}`", plan.entries.len(), state.configuration().display()));
        reading
    };
    verify(settings, &reading.probes, say).await
}

/// The last start's configuration and why it has to do: the same instance, and only the parameters out of reach.
fn kept<'a>(facts: &'a Facts, state: &State, earlier: Option<&'a Record>) -> Option<(&'a str, &'a Record, String)> {
    let why = facts.without_parameters.as_deref()?;
    let earlier = earlier.filter(|earlier| !earlier.values.is_empty() && facts.faults.is_empty())?;
    Some((why, earlier, std::fs::read_to_string(state.configuration()).ok()?))
}

/// Probes until all is well: a role that was just made takes a while to be everywhere.
async fn verify(settings: &Settings, probes: &probe::Settings, say: Say<'_>) -> Result<(), BootstrapError> {
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let mut last = Vec::new();
    loop {
        let wait = backoff.wait();
        let mut failures = Vec::new();
        let mut note = |finding: Finding| {
            if finding.outcome == Outcome::Failure {
                let fix = finding.fix.map(|fix| format!("; {fix}")).unwrap_or_default();
                failures.push(format!("{} {}: {}{fix}", finding.check, finding.subject, finding.text));
            }
        };
        if probe::run(probes, &mut note).await {
            say("AWS lets us: identity, role and target");
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

/// Waits until the appliance is ready, and tells whoever waits for this instance.
///
/// # Errors
/// [`BootstrapError`].
pub async fn signal(settings: &Settings, reader: &dyn Reader, say: Say<'_>) -> Result<(), BootstrapError> {
    let state = State::new(&settings.state);
    let identity = imds(settings).identity().await?;
    let mut record = state.record(Some(&identity.instance)).ok_or(BootstrapError::NoRecord)?;
    let text = std::fs::read_to_string(state.configuration()).map_err(|_| BootstrapError::NoRecord)?;
    let mut outcome = match reader.read(&text) {
        Ok(reading) => ready::wait(&reading.door, &settings.transport, settings.deadline).await,
        Err(problems) => Err(texts(problems, &Plan::default()).join("; ")),
    };
    let signals = record.signals.clone();
    if outcome.is_ok() {
        say("the appliance is ready");
        if let Some(group) = &signals.target_group
            && signal::is_awaited(&signals, &record.told)
        {
            // Auto Scaling registers an instance with the balancer only when its hook is complete.
            let hook = Signals { lifecycle: signals.lifecycle.clone(), ..Signals::default() };
            signal::tell(settings, &hook, &identity, Ok(()), &mut record.told, say).await;
            outcome = balancer::wait(settings, group, &identity, say).await;
        }
    }
    if let Err(reason) = &outcome {
        say(&format!("failed: {reason}"));
    }
    let told = outcome.as_ref().copied().map_err(String::as_str);
    let all_know = signal::tell(settings, &signals, &identity, told, &mut record.told, say).await;
    record.failure = outcome.as_ref().err().cloned();
    // What has been told is forgotten then, and told again at the next start: no harm.
    drop(state.write_record(&record));
    outcome.map_err(BootstrapError::Ready)?;
    if all_know { Ok(()) } else { Err(BootstrapError::Untold) }
}

/// Problems with the places that people know.
fn texts(problems: Vec<(Option<usize>, String)>, plan: &Plan) -> Vec<String> {
    let text = |(line, text): (Option<usize>, String)| match line.and_then(|line| plan.origin(line)) {
        Some(origin) => format!("{origin}: {text}"),
        None => text,
    };
    problems.into_iter().map(text).collect()
}

fn imds(settings: &Settings) -> ImdsClient {
    ImdsClient::new(settings.metadata.clone(), settings.metadata_deadline)
}

/// The credentials that the SDK's default chain has at this moment. A call without any is refused, and may be repeated.
async fn credentials(settings: &Settings, region: &str) -> Current {
    let config = sdk::load(region, &settings.egress).await;
    CredentialSource::new(&config, None).obtain(None).await.map(Current::holding).unwrap_or_default()
}

/// A service's endpoint in a region, unless another is set.
fn service(set: Option<&Endpoint>, name: &str, region: &str) -> Endpoint {
    set.cloned().unwrap_or_else(|| Endpoint::https(regional_host(name, region)))
}

/// Is this a machine of EC2? The firmware says so, without asking the network.
#[must_use]
pub fn is_instance() -> bool {
    let says = |path: &str, what: &str| std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(what));
    says("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2") || says("/sys/hypervisor/uuid", "ec2")
}
