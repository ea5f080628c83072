//! `status`: how this instance is doing, in the few lines that a console has room for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::state::State;
use super::{BootstrapError, Reader, Say, Settings, plan, ready, texts};

/// How often it is looked, with `watch`.
const INTERVAL: Duration = Duration::from_secs(5);

/// Says how it is; with `watch` forever, whenever that has changed.
///
/// # Errors
/// [`BootstrapError::Ready`], unless the appliance answers and is ready; never with `watch`.
pub async fn status(settings: &Settings, reader: &dyn Reader, watch: bool, say: Say<'_>) -> Result<(), BootstrapError> {
    let mut last = None;
    loop {
        let (lines, outcome) = look(settings, reader).await;
        if last.as_ref() != Some(&lines) {
            for line in &lines {
                say(line);
            }
            last = Some(lines);
        }
        if !watch {
            return outcome.map_err(BootstrapError::Ready);
        }
        sleep(INTERVAL).await;
    }
}

async fn look(settings: &Settings, reader: &dyn Reader) -> (Vec<String>, Result<(), String>) {
    let state = State::new(&settings.state);
    let program = format!("SageMaker MLflow appliance {}", env!("CARGO_PKG_VERSION"));
    let Some(record) = state.record(None) else {
        let reason = "this instance has not configured itself yet".to_owned();
        return (vec![program, format!("state: {reason}")], Err(reason));
    };
    let mut lines = vec![format!("{program} on {} in {}", record.instance, record.region)];
    let value = |key: &str| record.values.iter().find(|(other, _, _)| other == key);
    lines.extend(value("resource-arn").map(|(_, arn, origin)| format!("MLflow: {arn} ({origin})")));
    let text = std::fs::read_to_string(state.configuration()).unwrap_or_default();
    let outcome = match reader.read(&text) {
        Ok(reading) => {
            lines.push(format!("address: {}", reading.door));
            ready::wait(&reading.door, &settings.transport, Instant::now()).await
        }
        Err(problems) => Err(texts(problems, &plan::Plan::default()).join("; ")),
    };
    match &outcome {
        Ok(()) => lines.push("state: ready".to_owned()),
        Err(reason) => {
            lines.push(format!("state: {reason}"));
            lines.extend(record.failure.map(|failure| format!("the last start failed: {failure}")));
        }
    }
    (lines, outcome)
}
