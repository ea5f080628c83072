//! The reports that all requests of the process share: their ids, the number in flight, the audit log and the spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::serve::telemetry::audit::AuditLog;
use crate::serve::telemetry::log_export::LogQueue;
use crate::serve::telemetry::spans::SpanExporter;

/// The reports that all requests of the process share.
pub(crate) struct RequestReports {
    in_flight: AtomicUsize,
    next: AtomicU64,
    /// The random number with which request ids begin, so that they differ from those of other runs and instances.
    run: u64,
    /// The audit log.
    pub(crate) audit: AuditLog,
    /// The exporter of spans, if there is a collector.
    pub(crate) spans: Option<Arc<SpanExporter>>,
    /// The queues of the export to CloudWatch Logs.
    pub(crate) log_queues: Vec<Arc<LogQueue>>,
}

impl RequestReports {
    /// Reports whose request ids start with `run`, a random number.
    pub(crate) fn new(
        run: u64,
        audit: AuditLog,
        spans: Option<Arc<SpanExporter>>,
        log_queues: Vec<Arc<LogQueue>>,
    ) -> Self {
        Self { in_flight: AtomicUsize::new(0), next: AtomicU64::new(0), run, audit, spans, log_queues }
    }

    /// Counts a request that begins, and returns its id.
    #[must_use]
    pub(super) fn begin(&self) -> String {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        hex::encode(&((u128::from(self.run) << 32) + u128::from(number)).to_be_bytes()[4..])
    }

    /// Counts a request that has ended.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of requests whose response is not complete.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}
