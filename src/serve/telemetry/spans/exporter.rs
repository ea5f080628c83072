//! The bounded queue in which finished spans wait, and the task that sends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::serve::telemetry::spans::counts::{DropReason, SpanCounts};
use crate::serve::telemetry::spans::delivery::SpanDelivery;
use crate::serve::telemetry::spans::sampler::Sampler;
use crate::serve::telemetry::spans::settings::SpanSettings;
use crate::serve::telemetry::spans::span::FinishedSpans;

/// The maximum time that the end of the process waits for the collector, if the drain timeout leaves as much.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// The minimum time that it waits, even if the drain timeout has passed.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// The end of the queue that spans enter.
pub(crate) struct SpanExporter {
    queue: mpsc::UnboundedSender<FinishedSpans>,
    /// The counts of spans.
    pub(crate) counts: Arc<SpanCounts>,
    /// Decides whether a new trace is recorded.
    pub(super) sampler: Sampler,
    stop: CancellationToken,
}

/// The task that sends spans.
pub(crate) struct SpanExportTask {
    task: JoinHandle<()>,
    exporter: Arc<SpanExporter>,
}

impl SpanExporter {
    /// Starts the task that sends spans.
    pub(crate) fn start(settings: SpanSettings) -> SpanExportTask {
        let (queue, finished) = mpsc::unbounded_channel();
        let (counts, stop) = (Arc::<SpanCounts>::default(), CancellationToken::new());
        let delivery = SpanDelivery::new(settings.collector, settings.resource, Arc::clone(&counts), stop.clone());
        let task = rt::spawn(delivery.run(finished));
        let exporter = Arc::new(Self { queue, counts, sampler: Sampler::new(settings.sampling_ratio), stop });
        SpanExportTask { task, exporter }
    }

    /// Queues the spans of a request, or drops them if the queue is full. It never waits.
    pub(crate) fn record(&self, finished: FinishedSpans) {
        let count = finished.spans.len();
        if !self.counts.enter(count) {
            self.counts.add_dropped(DropReason::QueueFull, count);
        } else if self.queue.send(finished).is_err() {
            self.counts.leave(count);
            self.counts.add_dropped(DropReason::Undelivered, count);
        }
    }
}

impl SpanExportTask {
    /// Returns the exporter that requests use.
    pub(crate) fn exporter(&self) -> Arc<SpanExporter> {
        Arc::clone(&self.exporter)
    }

    /// Sends the spans that wait, for as long as there is time, and ends the task.
    pub(crate) async fn finish(mut self, deadline: Option<Instant>) {
        let left = deadline.map_or(LAST_WAIT, |deadline| deadline.duration_since(Instant::now()));
        let time = left.clamp(LEAST_WAIT, LAST_WAIT);
        self.exporter.stop.cancel();
        if timeout(time, &mut self.task).await.is_err() {
            self.task.abort();
            warn!(spans = self.exporter.counts.waiting(), "the last spans could not be sent before the shutdown");
        }
    }
}
