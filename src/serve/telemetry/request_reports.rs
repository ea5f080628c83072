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

/// The id of a request, in hex digits. They need no memory of their own, which each request would allocate.
pub(crate) struct RequestId([u8; 24]);

impl RequestId {
    /// Makes the id of a number, of which the upper 32 bits do not count.
    fn of(number: u128) -> Self {
        let mut digits = [0; 24];
        hex::encode_to_slice(&number.to_be_bytes()[4..], &mut digits).expect("each byte has two digits");
        Self(digits)
    }

    /// Returns the digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
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
    pub(super) fn begin(&self) -> RequestId {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId::of((u128::from(self.run) << 32) + u128::from(number))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_has_the_digits_of_its_number() {
        assert_eq!(RequestId::of(0xffff_ffff_0123_4567_89ab_cdef_0000_002a).as_str(), "0123456789abcdef0000002a");
        assert_eq!(RequestId::of(0).as_str(), "0".repeat(24));
    }
}
