//! The number of spans that wait, were exported or were dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::labelled::labelled;

/// The maximum number of spans that wait for export: a few megabytes, and about a second of a busy appliance.
const QUEUE_LIMIT: usize = 8192;

labelled! {
    /// The reason why a span was dropped.
    pub(crate) enum DropReason {
        /// Too many spans wait, because the collector is slow or down.
        QueueFull = "queue-full",
        /// The request made more upstream calls than are recorded.
        TooMany = "too-many",
        /// The collector did not accept the spans within the attempts that they get.
        Undelivered = "undelivered",
        /// The collector rejected these spans of a batch.
        Rejected = "rejected",
    }
}

/// The counts of spans, as the metrics show them.
#[derive(Debug, Default)]
pub(crate) struct SpanCounts {
    exported: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    waiting: AtomicUsize,
}

impl SpanCounts {
    /// Counts spans that enter the queue, and returns false if there is no room for them.
    pub(crate) fn enter(&self, spans: usize) -> bool {
        let has_room = self.waiting.fetch_add(spans, Ordering::Relaxed) + spans <= QUEUE_LIMIT;
        if !has_room {
            self.leave(spans);
        }
        has_room
    }

    /// Counts spans that leave the queue.
    pub(crate) fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }

    /// Counts spans that the collector accepted.
    pub(crate) fn add_exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Counts spans that were dropped.
    pub(crate) fn add_dropped(&self, reason: DropReason, spans: usize) {
        self.dropped[reason as usize].fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Returns the number of spans in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns the number of spans that the collector accepted.
    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Returns the number of dropped spans by reason.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::LABELS.into_iter().zip(&self.dropped).map(|(label, count)| (label, count.load(Ordering::Relaxed)))
    }
}
