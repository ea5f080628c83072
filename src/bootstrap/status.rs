//! `status`: the state of this instance, in the few lines for which a console has room.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::error::BootstrapError;
use super::plan::{self, with_origins};
use super::ready;
use super::settings::{BootstrapSettings, ConfigurationReader};
use super::state::StateDirectory;

/// The interval between two looks with `watch`.
const INTERVAL: Duration = Duration::from_secs(5);

/// The state of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    version: &'static str,
    instance: Option<String>,
    region: Option<String>,
    /// The managed MLflow, and the origin of that value.
    mlflow: Option<String>,
    mlflow_origin: Option<String>,
    address: Option<String>,
    is_ready: bool,
    /// `ready`, or the reason why not.
    state: String,
    /// The reason why the last start failed, if it did and the appliance is not ready.
    last_failure: Option<String>,
}

impl InstanceStatus {
    /// Returns the same in lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let program = format!("SageMaker MLflow appliance {}", self.version);
        let place = self.instance.as_deref().zip(self.region.as_deref());
        let mut lines =
            vec![place.map_or(program.clone(), |(instance, region)| format!("{program} on {instance} in {region}"))];
        let mlflow = self.mlflow.as_deref().zip(self.mlflow_origin.as_deref());
        lines.extend(mlflow.map(|(arn, origin)| format!("MLflow: {arn} ({origin})")));
        lines.extend(self.address.as_ref().map(|address| format!("address: {address}")));
        lines.push(format!("state: {}", self.state));
        lines.extend(self.last_failure.as_ref().map(|failure| format!("the last start failed: {failure}")));
        lines
    }
}

/// Reports the state; with `watch` for ever, after each change.
///
/// # Errors
/// [`BootstrapError::NotReady`], unless the appliance is ready; never with `watch`. [`BootstrapError::Read`], if this process
/// may not see the state.
pub async fn status(
    settings: &BootstrapSettings,
    reader: &dyn ConfigurationReader,
    watch: bool,
    tell: &mut dyn FnMut(&InstanceStatus),
) -> Result<(), BootstrapError> {
    let mut last = None;
    loop {
        let now = look(settings, reader).await?;
        if last.as_ref() != Some(&now) {
            tell(&now);
        }
        if !watch {
            return if now.is_ready { Ok(()) } else { Err(BootstrapError::NotReady) };
        }
        last = Some(now);
        sleep(INTERVAL).await;
    }
}

async fn look(
    settings: &BootstrapSettings,
    reader: &dyn ConfigurationReader,
) -> Result<InstanceStatus, BootstrapError> {
    let state = StateDirectory::new(&settings.state);
    let mut status = InstanceStatus {
        version: env!("CARGO_PKG_VERSION"),
        instance: None,
        region: None,
        mlflow: None,
        mlflow_origin: None,
        address: None,
        is_ready: false,
        state: "this instance has not configured itself yet".to_owned(),
        last_failure: None,
    };
    let Some(record) = state.record(None)? else { return Ok(status) };
    if let Some((_, arn, origin)) = record.values.iter().find(|(key, _, _)| key == "resource-arn") {
        (status.mlflow, status.mlflow_origin) = (Some(arn.clone()), Some(origin.clone()));
    }
    (status.instance, status.region) = (Some(record.instance), Some(record.region));
    let text = state.configuration_text()?.unwrap_or_default();
    let outcome = match reader.read(&text) {
        Ok(reading) => {
            status.address = Some(reading.listen.to_string());
            ready::wait(&reading.listen, &settings.transport, Instant::now()).await
        }
        Err(problems) => Err(with_origins(problems, &plan::Plan::default()).join("; ")),
    };
    status.is_ready = outcome.is_ok();
    if outcome.is_err() {
        status.last_failure = record.failure;
    }
    status.state = outcome.err().unwrap_or_else(|| "ready".to_owned());
    Ok(status)
}
