//! Where finished spans wait to be sent, how many may, and what becomes of those for which there is no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::rt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use crate::http::client::Dialer;
use crate::serve::telemetry::spans::delivery::Delivery;
use crate::serve::telemetry::spans::span::Finished;

/// Spans that may wait: a few megabytes, and a second or so of a busy appliance.
const QUEUE: usize = 8192;
/// How long the end of the process waits for the collector, if that much is left of the time for draining; and if not.
const LAST_WAIT: Duration = Duration::from_secs(5);
const LEAST_WAIT: Duration = Duration::from_millis(50);
/// Bits of a trace id that are random, whoever made it; OpenTelemetry's samplers go by the same.
const RANDOM_BITS: u32 = 56;

/// Where spans are sent.
#[derive(Clone)]
pub struct Collector {
    /// Opens connections to it.
    pub dialer: Dialer,
    /// Path and query of its OTLP/HTTP endpoint for traces.
    pub target: String,
}

/// What is recorded of requests, and for whom.
#[derive(Clone)]
pub struct SpanSettings {
    /// Who wants to know.
    pub collector: Collector,
    /// The share of requests that is recorded, of those that do not belong to a caller's trace. From 0 to 1.
    pub sampling_ratio: f64,
    /// Who we are: attributes of the resource.
    pub resource: Vec<(String, String)>,
}

/// Why a span was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Too many wait, because the collector is slow or down.
    QueueFull,
    /// One request had more calls than are recorded.
    TooMany,
    /// The collector did not answer, or not well, until patience was at its end.
    Undelivered,
    /// The collector took others and not these.
    Rejected,
}

impl Loss {
    const ALL: [(Self, &'static str); 4] = [
        (Self::QueueFull, "queue-full"),
        (Self::TooMany, "too-many"),
        (Self::Undelivered, "undelivered"),
        (Self::Rejected, "rejected"),
    ];
}

/// What was done with spans, as metrics show it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
    waiting: AtomicUsize,
}

impl Counts {
    pub(crate) fn export(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, why: Loss, spans: usize) {
        self.lost[why as usize].fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Notes that spans have left the queue.
    pub(crate) fn take(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// The end of the queue at which spans are put in.
pub(crate) struct Exporter {
    queue: mpsc::UnboundedSender<Finished>,
    counts: Arc<Counts>,
    /// Traces whose random bits are at least this are recorded.
    threshold: u64,
    stop: Arc<Notify>,
}

/// The task that sends spans.
pub(crate) struct Export {
    task: JoinHandle<()>,
    exporter: Arc<Exporter>,
}

impl Exporter {
    /// Starts the task that sends what is recorded.
    #[must_use]
    pub(crate) fn start(settings: SpanSettings) -> Export {
        let (queue, finished) = mpsc::unbounded_channel();
        let (counts, stop) = (Arc::<Counts>::default(), Arc::<Notify>::default());
        let delivery = Delivery::new(settings.collector, settings.resource, Arc::clone(&counts));
        let task = rt::spawn(delivery.run(finished, Arc::clone(&stop)));
        let exporter = Arc::new(Self { queue, counts, threshold: threshold(settings.sampling_ratio), stop });
        Export { task, exporter }
    }

    /// Whether a new trace is recorded.
    pub(crate) fn samples(&self, trace: u128) -> bool {
        is_sampled(trace, self.threshold)
    }

    /// Takes the spans of a request, if there is room. Waits for nobody.
    pub(crate) fn record(&self, finished: Finished) {
        let count = finished.spans.len();
        if self.counts.waiting.fetch_add(count, Ordering::Relaxed) + count > QUEUE {
            self.counts.take(count);
            self.counts.lose(Loss::QueueFull, count);
        } else if self.queue.send(finished).is_err() {
            self.counts.take(count);
            self.counts.lose(Loss::Undelivered, count);
        }
    }

    /// Counts what was not even put in.
    pub(crate) fn lose(&self, why: Loss, spans: usize) {
        self.counts.lose(why, spans);
    }

    /// Spans that the collector has taken.
    #[must_use]
    pub(crate) fn exported(&self) -> u64 {
        self.counts.exported.load(Ordering::Relaxed)
    }

    /// Spans that it has not and will not, by why.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Loss::ALL.into_iter().map(|(why, word)| (word, self.counts.lost[why as usize].load(Ordering::Relaxed)))
    }
}

impl Export {
    /// What requests are recorded with.
    #[must_use]
    pub(crate) fn exporter(&self) -> Arc<Exporter> {
        Arc::clone(&self.exporter)
    }

    /// Sends what waits, for as long as there is time, and ends.
    pub(crate) async fn finish(mut self, deadline: Option<Instant>) {
        let left = deadline.map_or(LAST_WAIT, |deadline| deadline.duration_since(Instant::now()));
        let time = left.clamp(LEAST_WAIT, LAST_WAIT);
        self.exporter.stop.notify_one();
        if timeout(time, &mut self.task).await.is_err() {
            self.task.abort();
            let lost = self.exporter.counts.waiting.load(Ordering::Relaxed);
            warn!(spans = lost, "the last spans could not be sent in time");
        }
    }
}

/// How large the random bits have to be for a share of all to be.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2 to the power of 56")]
fn threshold(ratio: f64) -> u64 {
    ((1.0 - ratio.clamp(0.0, 1.0)) * (1_u64 << RANDOM_BITS) as f64) as u64
}

fn is_sampled(trace: u128, threshold: u64) -> bool {
    let random = u64::try_from(trace & ((1 << RANDOM_BITS) - 1)).unwrap_or(u64::MAX);
    random >= threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_share_of_traces() {
        let traces: Vec<u128> =
            (0..4096_u128).map(|number| (number << (RANDOM_BITS - 12)) | u128::MAX << 64 | 0x3039).collect();
        for (ratio, expected) in [(0.0, 0), (0.25, 1024), (0.5, 2048), (1.0, 4096), (7.0, 4096), (-1.0, 0)] {
            let sampled = traces.iter().filter(|trace| is_sampled(**trace, threshold(ratio))).count();
            assert_eq!(sampled, expected, "{ratio}");
        }
        assert!(is_sampled(0, threshold(1.0)) && !is_sampled(u128::MAX, threshold(0.0)));
    }

    #[test]
    fn losses_have_their_places() {
        for (index, (why, _)) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
        }
    }
}
