//! `status`: how this instance is doing, in the few lines that a console has room for.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::state::State;
use super::{BootstrapError, Reader, Settings, plan, ready, texts};

/// How often it is looked, with `watch`.
const INTERVAL: Duration = Duration::from_secs(5);

/// How an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    version: &'static str,
    instance: Option<String>,
    region: Option<String>,
    /// The managed MLflow, and who said so.
    mlflow: Option<String>,
    mlflow_origin: Option<String>,
    address: Option<String>,
    is_ready: bool,
    /// `ready`, or why not.
    state: String,
    /// Why the last start failed, if it did and nothing has come right since.
    last_failure: Option<String>,
}

impl Standing {
    /// The same in lines.
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

/// Says how it is; with `watch` forever, whenever that has changed.
///
/// # Errors
/// [`BootstrapError::Ready`], unless the appliance answers and is ready; never with `watch`.
pub async fn status(
    settings: &Settings,
    reader: &dyn Reader,
    watch: bool,
    tell: &mut dyn FnMut(&Standing),
) -> Result<(), BootstrapError> {
    let mut last = None;
    loop {
        let now = look(settings, reader).await;
        if last.as_ref() != Some(&now) {
            tell(&now);
        }
        if !watch {
            return if now.is_ready { Ok(()) } else { Err(BootstrapError::Ready(now.state)) };
        }
        last = Some(now);
        sleep(INTERVAL).await;
    }
}

async fn look(settings: &Settings, reader: &dyn Reader) -> Standing {
    let state = State::new(&settings.state);
    let mut standing = Standing {
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
    let Some(record) = state.record(None) else { return standing };
    if let Some((_, arn, origin)) = record.values.iter().find(|(key, _, _)| key == "resource-arn") {
        (standing.mlflow, standing.mlflow_origin) = (Some(arn.clone()), Some(origin.clone()));
    }
    (standing.instance, standing.region) = (Some(record.instance), Some(record.region));
    let text = std::fs::read_to_string(state.configuration()).unwrap_or_default();
    let outcome = match reader.read(&text) {
        Ok(reading) => {
            standing.address = Some(reading.door.to_string());
            ready::wait(&reading.door, &settings.transport, Instant::now()).await
        }
        Err(problems) => Err(texts(problems, &plan::Plan::default()).join("; ")),
    };
    standing.is_ready = outcome.is_ok();
    if outcome.is_err() {
        standing.last_failure = record.failure;
    }
    standing.state = outcome.err().unwrap_or_else(|| "ready".to_owned());
    standing
}
