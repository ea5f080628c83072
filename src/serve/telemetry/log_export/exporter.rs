//! The tasks of the export, from the start of the process to its end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::clock;
use crate::serve::telemetry::log_export::content::LogContent;
use crate::serve::telemetry::log_export::delivery::{DeliveryState, LogDelivery};
use crate::serve::telemetry::log_export::metric_lines::MetricLines;
use crate::serve::telemetry::log_export::queue::LogQueue;
use crate::serve::telemetry::log_export::settings::LogExportSettings;
use crate::serve::telemetry::metrics::RequestTotals;

/// The longest time for one call, with a batch of a megabyte.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum time that the end of the process waits for CloudWatch Logs, if the drain timeout leaves as much.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// The minimum time that it waits, even if the drain timeout has passed.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The running export.
pub(crate) struct LogExport {
    settings: LogExportSettings,
    tasks: Vec<JoinHandle<()>>,
    metric_lines: Option<(Rc<MetricLines>, JoinHandle<()>)>,
    stop: CancellationToken,
}

impl LogExport {
    /// Starts a task for each content. The credentials are the machine's own.
    pub(crate) fn start(settings: LogExportSettings, credentials: &CurrentCredentials, run: u64) -> Self {
        let stop = CancellationToken::new();
        let group = Arc::new(settings.group.clone());
        // Names of streams must not have colons.
        let time = humantime::format_rfc3339_seconds(clock::now()).to_string().replace(':', "-");
        let start = |queue: &Arc<LogQueue>| {
            let delivery = LogDelivery {
                group: Arc::clone(&group),
                stream: format!("{}/{}/{time}-{:04x}", queue.content().as_str(), settings.machine, run & 0xffff),
                transport: Transport { dialer: settings.dialer.clone(), exchange_timeout: EXCHANGE_TIMEOUT },
                credentials: credentials.clone(),
                queue: Arc::clone(queue),
                stop: stop.clone(),
                state: DeliveryState::default(),
            };
            rt::spawn(delivery.run())
        };
        let tasks = settings.queues.iter().map(start).collect();
        Self { settings, tasks, metric_lines: None, stop }
    }

    /// The queues, for the metrics.
    pub(crate) fn queues(&self) -> Vec<Arc<LogQueue>> {
        self.settings.queues.clone()
    }

    /// Writes a line with the metrics of each minute, if that is wanted.
    pub(crate) fn watch(&mut self, totals: impl Fn() -> RequestTotals + 'static) {
        if let Some(queue) = self.settings.queue(LogContent::Metrics) {
            let LogExportSettings { group, machine, queues, .. } = &self.settings;
            let (queues, group, machine) = (queues.clone(), group.name.clone(), machine.clone());
            let (totals, last) = (Box::new(totals), Cell::default());
            let lines = Rc::new(MetricLines { queue, queues, group, machine, totals, last });
            let writer = Rc::clone(&lines);
            self.metric_lines = Some((lines, rt::spawn(async move { writer.keep_writing().await })));
        }
    }

    /// Sends the events that wait, for as long as there is time, and ends the tasks.
    pub(crate) async fn finish(mut self, deadline: Option<Instant>) {
        if let Some((lines, task)) = self.metric_lines.take() {
            task.abort();
            lines.write();
        }
        let left = deadline.map_or(LAST_WAIT, |deadline| deadline.duration_since(Instant::now()));
        self.stop.cancel();
        // Tasks that have no time left end with the process.
        let _ = timeout(left.clamp(LEAST_WAIT, LAST_WAIT), join_all(self.tasks)).await;
        for queue in self.settings.queues.iter().filter(|queue| !queue.is_empty()) {
            let (content, bytes) = (queue.content().as_str(), queue.held());
            warn!(content, bytes, "the last log events could not be sent to CloudWatch Logs before the shutdown");
        }
    }
}
