//! The task that takes events from a queue and sends them to a stream of CloudWatch Logs.
//!
//! It sends what has gathered every two seconds, or as soon as a whole batch waits. It repeats a batch for as long as an
//! outage lasts, because the queue has its own limit. A batch whose response was lost is sent twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::Transport;
use crate::api::log_events::{LogEvent, LogEventsError, LogGroup, LogStream};
use crate::aws::credentials::CurrentCredentials;
use crate::backoff::Backoff;
use crate::error_chain;
use crate::serve::telemetry::log_export::queue::{LogBatch, LogQueue};

/// The maximum time that an event waits for others.
const INTERVAL: Duration = Duration::from_secs(2);
/// The first and the longest wait between attempts, in an outage and at the end of the process.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
const LAST_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
/// The minimum time between two warnings about the same stream.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Sends the events of one queue.
pub(crate) struct LogDelivery {
    pub(crate) group: Arc<LogGroup>,
    pub(crate) stream: String,
    pub(crate) transport: Transport,
    pub(crate) credentials: CurrentCredentials,
    pub(crate) queue: Arc<LogQueue>,
    pub(crate) stop: CancellationToken,
    pub(crate) state: DeliveryState,
}

/// The memory of a delivery.
#[derive(Default)]
pub(crate) struct DeliveryState {
    has_stream: bool,
    is_failing: bool,
    warned: Option<Instant>,
    /// The number of lost events that the log knows about.
    reported: u64,
}

impl LogDelivery {
    /// Sends events until `stop` is cancelled, and then the rest.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = self.queue.filled() => {}
                () = self.stop.cancelled() => {}
            }
            // Read before the queue, so that what comes before the end is sent.
            let is_last = self.stop.is_cancelled();
            while let Some(batch) = self.queue.take() {
                if !self.deliver(&batch).await {
                    return;
                }
                // Events that have come meanwhile wait for others, unless they are enough for a call.
                if !is_last && !self.queue.is_filled() {
                    break;
                }
            }
            self.report_losses();
            if is_last {
                return;
            }
        }
    }

    /// Sends a batch. Returns false if it gives up, which it does only at the end of the process.
    async fn deliver(&mut self, batch: &LogBatch) -> bool {
        let mut backoff = BACKOFF;
        let mut last_backoff = LAST_BACKOFF;
        loop {
            let error = match self.send(&batch.events).await {
                Ok(rejected) => {
                    self.queue.give_back(batch, rejected);
                    if self.state.is_failing {
                        self.state.is_failing = false;
                        info!(stream = self.stream, "CloudWatch Logs takes events again");
                    }
                    return true;
                }
                Err(error) => error,
            };
            self.warn(&error);
            if error.is_about_events() {
                self.queue.give_back(batch, batch.events.len());
                return true;
            }
            if error.is_expiry() {
                self.credentials.renew();
            }
            if !self.stop.is_cancelled() {
                tokio::select! {
                    () = sleep(backoff.wait()) => {}
                    () = self.stop.cancelled() => {}
                }
            } else if error.is_lasting() {
                return false;
            } else {
                sleep(last_backoff.wait()).await;
            }
        }
    }

    /// Sends events, and makes the stream if need be. Returns the number of events that AWS did not take.
    async fn send(&mut self, events: &[LogEvent]) -> Result<usize, LogEventsError> {
        let Self { group, stream, transport, credentials, .. } = &*self;
        let stream = LogStream { group, name: stream, transport, credentials };
        if self.state.has_stream {
            match stream.put(events).await {
                Err(error) if error.is_absence() => {}
                sent => return sent,
            }
        }
        // There is no stream yet, or it has been deleted.
        let made = stream.create().await;
        let sent = match made {
            Ok(()) => stream.put(events).await,
            Err(error) => Err(error),
        };
        self.state.has_stream = sent.is_ok();
        sent
    }

    /// Logs a failure, at most once a minute.
    fn warn(&mut self, error: &LogEventsError) {
        self.state.is_failing = true;
        if self.may_warn() {
            let (error, hint, lost) = (error_chain::joined(error), error.hint(), self.lost());
            self.state.reported = lost;
            warn!(stream = self.stream, lost, error, hint, "cannot send log events; requests are not affected");
        }
    }

    /// Logs that events were lost, at most once a minute, if a failure has not said so.
    fn report_losses(&mut self) {
        let lost = self.lost();
        if lost > self.state.reported && self.may_warn() {
            self.state.reported = lost;
            let hint = "look at `appliance_log_events_dropped_total`, and send less with `cloudwatch-log-content`";
            warn!(stream = self.stream, lost, hint, "log events were lost on the way to CloudWatch Logs");
        }
    }

    fn lost(&self) -> u64 {
        self.queue.lost().map(|(_, count)| count).sum()
    }

    fn may_warn(&mut self) -> bool {
        let may_warn = self.state.warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
        if may_warn {
            self.state.warned = Some(Instant::now());
        }
        may_warn
    }
}
