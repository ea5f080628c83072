//! Asks this instance's surroundings what they know: its identity, user data, tags, parameters, and its image's file; and
//! makes a plan of it.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::plan::{self, Entry, Plan};
use super::sources::{self, Source};
use super::tags::{self, PREFIX};
use super::{BootstrapError, Reader, Reading, Say, Settings, credentials, service, texts, user_data};
use crate::api::imds::{ImdsClient, ImdsError, InstanceIdentity};
use crate::api::parameters::{self, ParametersError, SsmParameter};
use crate::backoff::Backoff;
use crate::error_chain;

/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What is known.
pub(super) struct Facts {
    /// Which instance this is.
    pub identity: InstanceIdentity,
    /// In the order in which they win: user data, parameters, tags, the file of the image.
    pub sources: Vec<Source>,
    /// What could not be understood: somebody has to change it.
    pub faults: Vec<String>,
    /// Why the parameters are not among the sources, if they should be.
    pub without_parameters: Option<String>,
}

impl Facts {
    /// Makes the plan. A tag that makes the configuration unusable is left out with a warning, if that helps.
    ///
    /// SECURITY: many people may tag instances (`ec2:CreateTags`). None of them may keep an instance from starting whose
    /// user data and parameters suffice.
    pub(super) fn plan(&self, reader: &dyn Reader, say: Say<'_>) -> Plan {
        let whole = plan::plan(&self.sources.iter().collect::<Vec<_>>());
        let Err(problems) = reader.read(&whole.text) else { return whole };
        let tags: Vec<&Entry> = whole.entries.iter().filter(|entry| tags::is_tag(&entry.value)).collect();
        let is_blamed = |entry: &&&Entry| problems.iter().any(|(line, _)| *line == Some(entry.line));
        let blamed: Vec<&Entry> = tags.iter().filter(is_blamed).copied().collect();
        for ignored in [blamed, tags].into_iter().filter(|ignored| !ignored.is_empty()) {
            let mut sources = self.sources.clone();
            for source in &mut sources {
                source.options.retain(|_, value| !ignored.iter().any(|entry| entry.value == *value));
            }
            let without = plan::plan(&sources.iter().collect::<Vec<_>>());
            if reader.read(&without.text).is_ok() {
                let why = texts(problems, &whole).join("; ");
                for entry in ignored {
                    say(&format!(
                        "warning: {} is ignored: the configuration cannot be used with it: {why}",
                        entry.value.origin
                    ));
                }
                return without;
            }
        }
        whole
    }

    /// What the configuration means.
    pub(super) fn checked(
        &self,
        plan: &Plan,
        reader: &dyn Reader,
        without_parameters: Option<&String>,
    ) -> Result<Reading, BootstrapError> {
        if !self.faults.is_empty() {
            return Err(BootstrapError::Configuration(self.faults.clone()));
        }
        if let Some(why) = without_parameters {
            return Err(BootstrapError::Parameters(why.clone()));
        }
        reader.read(&plan.text).map_err(|problems| BootstrapError::Configuration(texts(problems, plan)))
    }
}

/// Asks.
///
/// # Errors
/// [`ImdsError`]: not even the identity is known.
pub(super) async fn gather(settings: &Settings, imds: &ImdsClient, say: Say<'_>) -> Result<Facts, ImdsError> {
    let identity = imds.identity().await?;
    let mut faults = Vec::new();
    let mut read = |result: Result<Source, String>| result.map_err(|fault| faults.push(fault)).unwrap_or_default();

    let raw = imds.get("user-data").await?;
    let user = match &raw {
        None => Source::default(),
        Some(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Source::default(),
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
    let mut found = Source::default();
    if let Some(path) = plan::own(&[&user, &told, &file], "parameters") {
        match parameters_below(&path.text, &identity.region, settings, say).await {
            Ok(parameters) => match sources::from_parameters(&path.text, &parameters) {
                Ok(source) => found = source,
                Err(fault) => faults.push(fault),
            },
            Err(error) => without_parameters = Some(format!("{}: {}", path.origin, error_chain::joined(&error))),
        }
    }
    for warning in tags::restrict(&mut told, &[&user, &found]) {
        say(&format!("warning: {warning}"));
    }
    Ok(Facts { identity, sources: vec![user, found, told, file], faults, without_parameters })
}

/// The tags that matter, where the instance may see its tags at all.
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

fn file(path: Option<&Path>) -> Result<Source, String> {
    let Some(path) = path else { return Ok(Source::default()) };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => sources::from_toml(&text, &name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Source::default()),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Reads the parameters; tries again until the deadline, because a role may take a while to be there.
async fn parameters_below(
    path: &str,
    region: &str,
    settings: &Settings,
    say: Say<'_>,
) -> Result<Vec<SsmParameter>, ParametersError> {
    let endpoint = service(settings.services.ssm.as_ref(), "ssm", region);
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
