//! The bounded queue in which events wait for CloudWatch Logs, and the counts of what was sent and lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::api::log_events::{BATCH_BYTES, BATCH_EVENTS, BATCH_SPAN, EVENT_OVERHEAD, LogEvent, MESSAGE_BYTES};
use crate::labelled::labelled;
use crate::serve::telemetry::log_export::content::LogContent;

/// The bytes in memory of an event besides its text.
const EVENT_MEMORY: usize = size_of::<LogEvent>() + 16;

labelled! {
    /// The reason why an event was lost.
    pub(crate) enum LogLoss {
        /// Too many events wait, because CloudWatch Logs is slow or down, or the group is missing.
        QueueFull = "queue-full",
        /// CloudWatch Logs did not take the event.
        Rejected = "rejected",
    }
}

/// The queue of one content.
#[derive(Debug)]
pub struct LogQueue {
    content: LogContent,
    limit: usize,
    state: Mutex<QueueState>,
    /// Notified when a whole batch waits.
    filled: Notify,
    exported: AtomicU64,
    lost: [AtomicU64; LogLoss::ALL.len()],
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<LogEvent>,
    /// The memory of the events that wait, and of those that are on their way.
    held: usize,
    /// The bytes of the events that wait, as AWS counts them.
    waiting: usize,
    last: u64,
}

impl QueueState {
    fn is_filled(&self) -> bool {
        self.waiting >= BATCH_BYTES || self.events.len() >= BATCH_EVENTS
    }
}

/// Events that are on their way. They count against the queue's limit until they are given back.
pub(crate) struct LogBatch {
    /// The events, in the order of their times, within the limits of one call.
    pub events: Vec<LogEvent>,
    held: usize,
}

impl LogQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(content: LogContent) -> Self {
        Self::bounded(content, content.queue_limit())
    }

    fn bounded(content: LogContent, limit: usize) -> Self {
        Self {
            content,
            limit,
            state: Mutex::default(),
            filled: Notify::new(),
            exported: AtomicU64::new(0),
            lost: Default::default(),
        }
    }

    /// The content of the events.
    #[must_use]
    pub fn content(&self) -> LogContent {
        self.content
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, or counts it as lost if there is no room for it. It never waits for CloudWatch Logs, and logs
    /// nothing, because the log itself comes here. A line that is longer than an event may be is cut.
    pub fn record(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        let message = line[..line.floor_char_boundary(MESSAGE_BYTES)].to_owned();
        if message.is_empty() {
            return;
        }
        let (memory, size) = (message.len() + EVENT_MEMORY, message.len() + EVENT_OVERHEAD);
        let mut state = self.state();
        if state.held + memory > self.limit {
            drop(state);
            self.add_lost(LogLoss::QueueFull, 1);
            return;
        }
        let mut event = LogEvent::now(message);
        // The events of a call have to be in order, also when the system's clock has been set back.
        event.timestamp = event.timestamp.max(state.last);
        state.last = event.timestamp;
        state.held += memory;
        state.waiting += size;
        state.events.push_back(event);
        let is_filled = state.is_filled();
        drop(state);
        if is_filled {
            self.filled.notify_one();
        }
    }

    /// Waits until a whole batch waits.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// True if a whole batch waits.
    pub(crate) fn is_filled(&self) -> bool {
        self.state().is_filled()
    }

    /// Takes the oldest events, as many as one call may have; nothing if no event waits.
    pub(crate) fn take(&self) -> Option<LogBatch> {
        let mut state = self.state();
        let span = u64::try_from(BATCH_SPAN.as_millis()).unwrap_or(u64::MAX);
        let end = state.events.front()?.timestamp.saturating_add(span);
        let (mut size, mut held, mut count) = (0, 0, 0);
        for event in state.events.iter().take(BATCH_EVENTS) {
            let added = event.message.len() + EVENT_OVERHEAD;
            if size + added > BATCH_BYTES || event.timestamp >= end {
                break;
            }
            size += added;
            held += event.message.len() + EVENT_MEMORY;
            count += 1;
        }
        state.waiting -= size;
        Some(LogBatch { events: state.events.drain(..count).collect(), held })
    }

    /// Makes room for as many events as a batch had, of which so many were lost.
    pub(crate) fn give_back(&self, batch: &LogBatch, lost: usize) {
        self.state().held -= batch.held;
        self.exported.fetch_add(batch.events.len().saturating_sub(lost) as u64, Ordering::Relaxed);
        self.add_lost(LogLoss::Rejected, lost as u64);
    }

    fn add_lost(&self, loss: LogLoss, events: u64) {
        self.lost[loss as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// True if no event waits or is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().held == 0
    }

    /// The memory of the events that wait or are on their way. Bytes.
    pub(crate) fn held(&self) -> usize {
        self.state().held
    }

    /// The number of events that CloudWatch Logs took.
    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// The number of lost events by reason.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        LogLoss::LABELS.into_iter().zip(&self.lost).map(|(label, count)| (label, count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: usize) -> LogQueue {
        LogQueue::bounded(LogContent::Audit, limit)
    }

    fn lost(queue: &LogQueue) -> Vec<(&'static str, u64)> {
        queue.lost().collect()
    }

    #[test]
    fn a_batch_respects_the_limits_of_a_call() {
        let queue = queue(64 << 20);
        for _ in 0..=BATCH_EVENTS {
            queue.record(b"x\n");
        }
        assert_eq!(queue.take().map(|batch| batch.events.len()), Some(BATCH_EVENTS));
        assert_eq!(queue.take().map(|batch| batch.events.len()), Some(1));
        assert!(queue.take().is_none());
        let line = vec![b'y'; 300 * 1024];
        for _ in 0..6 {
            queue.record(&line);
        }
        let sizes = |batch: LogBatch| batch.events.iter().map(|event| event.message.len() + 26).collect::<Vec<_>>();
        // Each is cut to 256 KiB with its overhead, so four fill a batch to the byte.
        assert_eq!(queue.take().map(sizes), Some(vec![256 * 1024; 4]));
        assert_eq!(queue.take().map(sizes), Some(vec![256 * 1024; 2]));
    }

    #[test]
    fn a_batch_spans_less_than_a_day() {
        let queue = queue(1 << 20);
        for _ in 0..3 {
            queue.record(b"x");
        }
        queue.state().events[2].timestamp += 24 * 3600 * 1000;
        assert_eq!(queue.take().map(|batch| batch.events.len()), Some(2));
        assert_eq!(queue.take().map(|batch| batch.events.len()), Some(1));
    }

    #[test]
    fn a_cut_falls_between_characters_and_empty_lines_are_left_out() {
        let queue = queue(8 << 20);
        queue.record(b"\n");
        queue.record("é".repeat(MESSAGE_BYTES).as_bytes());
        queue.record(b"\xff\n");
        let messages: Vec<String> =
            queue.take().expect("events").events.into_iter().map(|event| event.message).collect();
        assert_eq!(messages.len(), 2);
        assert!(messages[0].len() <= MESSAGE_BYTES && messages[0].chars().all(|one| one == 'é'));
        assert_eq!(messages[1], "\u{fffd}");
    }

    #[test]
    fn a_full_queue_counts_losses_and_has_room_again_once_a_batch_is_gone() {
        let queue = queue(2 * (EVENT_MEMORY + 1));
        for _ in 0..5 {
            queue.record(b"x");
        }
        assert_eq!(lost(&queue), [("queue-full", 3), ("rejected", 0)]);
        let batch = queue.take().expect("two events");
        queue.record(b"x");
        assert_eq!(lost(&queue), [("queue-full", 4), ("rejected", 0)], "events on their way take memory, too");
        queue.give_back(&batch, 1);
        assert!(queue.is_empty());
        queue.record(b"x");
        assert_eq!((queue.exported(), lost(&queue)), (1, vec![("queue-full", 4), ("rejected", 1)]));
    }

    #[test]
    fn events_stay_in_order_when_the_clock_is_set_back() {
        let queue = queue(1 << 20);
        queue.record(b"first");
        let later = queue.state().last + 1_000_000;
        queue.state().last = later;
        queue.record(b"second");
        assert_eq!(queue.take().map(|batch| batch.events[1].timestamp), Some(later));
    }
}
