//! Puts an event into the log group, as `serve` will, and names the missing permission.

use super::finding::Finding;
use super::settings::ProbedLogs;
use crate::api::Transport;
use crate::api::log_events::{LogEvent, LogEventsError, LogStream};
use crate::aws::credentials::CurrentCredentials;
use crate::error_chain;

pub(super) const CHECK: &str = "logs";

/// The stream of a machine's probes, which is always the same, so that they leave no trail of streams behind.
const STREAM: &str = "check";
/// A stream that does not exist. AWS looks for the permission and the group before it misses the stream.
const ABSENT_STREAM: &str = "never-made";

/// Probes the group. Without leave to write, it puts an event into a stream that does not exist.
pub(super) async fn probe(
    logs: &ProbedLogs,
    may_write: bool,
    transport: &Transport,
    credentials: &CurrentCredentials,
) -> Finding {
    let ProbedLogs { group, machine } = logs;
    let name = if may_write { format!("{STREAM}/{machine}") } else { format!("{STREAM}/{machine}/{ABSENT_STREAM}") };
    let stream = LogStream { group, name: &name, transport, credentials };
    let result = if may_write { written(stream).await } else { stream.put(&[event()]).await };
    match result {
        Ok(0) => Finding::ok(CHECK, &group.name, format!("events can be put into the log group, in {}", group.region)),
        Ok(_) => {
            let text = "CloudWatch Logs did not take an event because of its time";
            Finding::failure(CHECK, &group.name, text, "correct the clock of this machine")
        }
        Err(LogEventsError::Refused { message, .. }) if !may_write && message.contains("log stream") => {
            let text = format!("the log group exists in {}, and this machine may put events into it", group.region);
            Finding::ok(CHECK, &group.name, text)
        }
        Err(error) => Finding::failure(CHECK, &group.name, error_chain::joined(&error), error.hint()),
    }
}

async fn written(stream: LogStream<'_>) -> Result<usize, LogEventsError> {
    stream.create().await?;
    stream.put(&[event()]).await
}

fn event() -> LogEvent {
    LogEvent::now("`appliance check` has put this event here, to find out whether it may".to_owned())
}
