//! Gathers the identity, user data, tags, parameters and the image's file of this instance, and plans the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::BootstrapError;
use super::parameters::from_parameters;
use super::plan::{self, Plan, PlanEntry, with_origins};
use super::services::{credentials, endpoint};
use super::settings::{BootstrapSettings, ConfigurationReader, Say, UsableConfiguration};
use super::socket_unit;
use super::sources::{self, ConfigurationSource, ConfiguredValue};
use super::tags::{self, PREFIX};
use super::user_data;
use crate::api::imds::{ImdsClient, ImdsError, InstanceIdentity};
use crate::api::parameters::{self, ParametersError, SsmParameter};
use crate::backoff::Backoff;
use crate::error_chain;

/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The facts about this instance.
pub(super) struct InstanceFacts {
    /// The identity of the instance.
    pub identity: InstanceIdentity,
    /// The sources, the one with precedence first: user data, parameters, tags, the file of the image, the identity.
    pub sources: Vec<ConfigurationSource>,
    /// Sources that cannot be parsed, which a person has to correct.
    pub faults: Vec<String>,
    /// The reason why the parameters could not be read, if they are configured.
    pub without_parameters: Option<String>,
}

impl InstanceFacts {
    /// Makes the plan. A tag that makes the configuration invalid is left out with a warning, if that helps.
    ///
    /// SECURITY: many people may tag instances (`ec2:CreateTags`). None of them may prevent the start of an instance whose
    /// user data and parameters suffice.
    pub(super) fn plan(&self, reader: &dyn ConfigurationReader, say: Say<'_>) -> Plan {
        let whole = plan::plan(&self.sources.iter().collect::<Vec<_>>());
        let Err(problems) = reader.read(&whole.text) else { return whole };
        let tags: Vec<&PlanEntry> = whole.entries.iter().filter(|entry| tags::is_tag(&entry.value)).collect();
        let is_blamed = |entry: &&&PlanEntry| problems.iter().any(|(line, _)| *line == Some(entry.line));
        let blamed: Vec<&PlanEntry> = tags.iter().filter(is_blamed).copied().collect();
        for ignored in [blamed, tags].into_iter().filter(|ignored| !ignored.is_empty()) {
            let mut sources = self.sources.clone();
            for source in &mut sources {
                source.options.retain(|_, value| !ignored.iter().any(|entry| entry.value == *value));
            }
            let without = plan::plan(&sources.iter().collect::<Vec<_>>());
            if reader.read(&without.text).is_ok() {
                let why = with_origins(problems, &whole).join("; ");
                for entry in ignored {
                    say(&format!(
                        "warning: {} is ignored: it makes the configuration invalid: {why}",
                        entry.value.origin
                    ));
                }
                return without;
            }
        }
        whole
    }

    /// Reads the planned configuration as `serve` does, which also rejects an address that the socket unit does not have.
    pub(super) fn checked(
        &self,
        plan: &Plan,
        reader: &dyn ConfigurationReader,
        units: &[PathBuf],
        without_parameters: Option<&String>,
    ) -> Result<UsableConfiguration, BootstrapError> {
        if !self.faults.is_empty() {
            return Err(BootstrapError::Configuration(self.faults.clone()));
        }
        if let Some(why) = without_parameters {
            return Err(BootstrapError::Parameters(why.clone()));
        }
        let rejected = |problems| BootstrapError::Configuration(with_origins(problems, plan));
        let usable = reader.read(&plan.text).map_err(rejected)?;
        let listen = usable.listen.address;
        let opened = socket_unit::addresses(units).unwrap_or_default();
        if opened.is_empty() || opened.contains(&listen) {
            return Ok(usable);
        }
        let line = plan.entries.iter().find(|entry| entry.key == "listen").map(|entry| entry.line);
        let shown: Vec<String> = opened.iter().map(ToString::to_string).collect();
        let text = format!(
            "listen: `{listen}`: systemd opens the socket, and mlflow-appliance.socket listens on {} (hint: set `listen` \
             and `ListenStream=` of that unit to the same address)",
            shown.join(", ")
        );
        Err(rejected(vec![(line, text)]))
    }
}

/// Gathers the facts.
///
/// # Errors
/// [`ImdsError`]: the metadata service did not answer.
pub(super) async fn gather(
    settings: &BootstrapSettings,
    imds: &ImdsClient,
    say: Say<'_>,
) -> Result<InstanceFacts, ImdsError> {
    let identity = imds.identity().await?;
    let mut faults = Vec::new();
    let mut read =
        |result: Result<ConfigurationSource, String>| result.map_err(|fault| faults.push(fault)).unwrap_or_default();

    let raw = imds.get("user-data").await?;
    let user = match &raw {
        None => ConfigurationSource::default(),
        Some(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => ConfigurationSource::default(),
        Some(bytes) => read(
            user_data::decode(bytes)
                .map_err(|error| format!("user data: {error}"))
                .and_then(|document| sources::from_document(&document, "user data")),
        ),
    };
    let file = read(file(settings.defaults.as_deref()));
    let (mut told, unfit) = tags::from_tags(&tags_of(imds).await?);
    for warning in unfit {
        say(&format!("warning: {warning}"));
    }

    let mut without_parameters = None;
    let mut found = ConfigurationSource::default();
    if let Some(path) = plan::own(&[&user, &told, &file], "parameters") {
        match parameters_below(&path.text, &identity.region, settings, say).await {
            Ok(parameters) => match from_parameters(&path.text, &parameters) {
                Ok(source) => found = source,
                Err(fault) => faults.push(fault),
            },
            Err(error) => without_parameters = Some(format!("{}: {}", path.origin, error_chain::joined(&error))),
        }
    }
    for warning in tags::restrict(&mut told, &[&user, &found]) {
        say(&format!("warning: {warning}"));
    }
    let mut sources = vec![user, found, told, file];
    sources.extend(machine(&identity, &sources));
    Ok(InstanceFacts { identity, sources, faults, without_parameters })
}

/// Returns the name of this instance for log streams, if it sends its logs: a host name may return with another instance.
fn machine(identity: &InstanceIdentity, sources: &[ConfigurationSource]) -> Option<ConfigurationSource> {
    let has_group = sources.iter().any(|source| source.options.contains_key("cloudwatch-log-group"));
    let value = ConfiguredValue::one(identity.instance.clone(), "identity document".to_owned());
    let options = [("cloudwatch-log-machine".to_owned(), value)].into_iter().collect();
    has_group.then(|| ConfigurationSource { options, ..ConfigurationSource::default() })
}

/// Returns the tags for the appliance, if the instance can see its tags.
async fn tags_of(imds: &ImdsClient) -> Result<Vec<(String, String)>, ImdsError> {
    const LIST: &str = "meta-data/tags/instance";
    let keys = imds.text(LIST).await?.unwrap_or_default();
    let matters = |key: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte);
        (key.starts_with(PREFIX) || key.starts_with("aws:")) && key.bytes().all(is_plain)
    };
    let mut tags = Vec::new();
    for key in keys.lines().map(str::trim).filter(matters) {
        if let Some(value) = imds.text(&format!("{LIST}/{key}")).await? {
            tags.push((key.to_owned(), value));
        }
    }
    Ok(tags)
}

fn file(path: Option<&Path>) -> Result<ConfigurationSource, String> {
    let Some(path) = path else { return Ok(ConfigurationSource::default()) };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => sources::from_toml(&text, &name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigurationSource::default()),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Reads the parameters, and retries until the deadline, because a new role takes a while to take effect.
async fn parameters_below(
    path: &str,
    region: &str,
    settings: &BootstrapSettings,
    say: Say<'_>,
) -> Result<Vec<SsmParameter>, ParametersError> {
    let endpoint = endpoint(settings.services.ssm.as_ref(), "ssm", region);
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let mut told = false;
    loop {
        let wait = backoff.wait();
        let result = async {
            let credentials = credentials(settings, region).await;
            parameters::below(path, &settings.transport, (&endpoint, region), &credentials).await
        };
        match result.await {
            Err(error) if Instant::now() + wait < settings.deadline => {
                if !told {
                    say(&format!("waiting: parameters below `{path}`: {}", error_chain::joined(&error)));
                    told = true;
                }
                sleep(wait).await;
            }
            result => return result,
        }
    }
}
