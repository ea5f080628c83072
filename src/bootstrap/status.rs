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
    let outcome = match (record.failure, reader.read(&text)) {
        // What the appliance says itself is newer.
        (failure, Ok(reading)) => {
            lines.push(format!("address: {}", reading.door));
            let answer = ready::wait(&reading.door, &settings.transport, Instant::now()).await;
            answer.map_err(|reason| failure.map_or(reason, |failure| format!("configuring it failed: {failure}")))
        }
        (Some(failure), Err(_)) => Err(format!("configuring it failed: {failure}")),
        (None, Err(problems)) => Err(texts(problems, &plan::Plan::default()).join("; ")),
    };
    lines.push(match &outcome {
        Ok(()) => "state: ready".to_owned(),
        Err(reason) => format!("state: {reason}"),
    });
    (lines, outcome)
}
