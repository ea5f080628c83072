//! The counters of one worker.
//!
//! Only the worker writes to them, so counting is a load and a store of memory that no other processor contends for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::serve::telemetry::error_codes;
use crate::serve::telemetry::finished::FinishedRequest;
use crate::serve::telemetry::metrics::caller_index::CallerIndex;
use crate::serve::telemetry::metrics::callers::CallerRows;
use crate::serve::telemetry::metrics::failures::{FailedRequest, RecentFailures};
use crate::serve::telemetry::metrics::histogram::{self, BUCKETS, micros};
use crate::serve::telemetry::metrics::layout::{
    ANSWERED, CLASSES, ENDED, Latency, PRESIGNED, RECEIVED, REJECTED, REJECTIONS, REQUESTS, RETRIES, ROLES, SENT,
    STATUSES, TIME, base, distribution, size, status,
};
use crate::serve::telemetry::metrics::route::RouteClass;

/// The counters of one worker, as other threads read them.
pub(crate) struct SharedCounters {
    targets: usize,
    pub(super) cells: Box<[AtomicU64]>,
    /// The lock is free nearly always: another thread takes it only to render the status page.
    recent: Mutex<RecentFailures>,
    pub(super) callers: CallerRows,
}

/// The counters of one worker, as only the worker itself has them.
pub(crate) struct WorkerCounters {
    shared: Arc<SharedCounters>,
    callers: CallerIndex,
}

impl WorkerCounters {
    /// Makes counters for so many targets, and for requests that have no target. Times count from `start`.
    pub(crate) fn new(targets: usize, start: Instant) -> Self {
        let cells = (0..size(targets)).map(|_| AtomicU64::new(0)).collect();
        let shared = SharedCounters { targets, cells, recent: Mutex::default(), callers: CallerRows::default() };
        Self { shared: Arc::new(shared), callers: CallerIndex::new(start) }
    }

    /// Returns the part that other threads read.
    pub(crate) fn shared(&self) -> &Arc<SharedCounters> {
        &self.shared
    }

    /// Counts a request, also for its caller, and keeps it for the status page if it failed.
    pub(crate) fn count(&self, request: &FinishedRequest<'_>) {
        self.shared.count(request);
        self.callers.count(&self.shared.callers, request);
        if let Some(code) = request.failure_code() {
            self.shared.recent().push(FailedRequest::of(request, code));
        }
    }
}

impl SharedCounters {
    fn add(&self, cell: usize, more: u64) {
        // One thread writes, so nothing comes between the load and the store. Others read values of a moment ago.
        self.cells[cell].store(self.cells[cell].load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn count(&self, request: &FinishedRequest<'_>) {
        let target = base(self.targets, request.target);
        let role = request.caller.map_or(ROLES.len() - 1, |caller| caller.role as usize);
        let (route, status) = (RouteClass::of(request.action) as usize, status(request.status));
        let kind = role * CLASSES + route;
        self.add(target + REQUESTS + kind * STATUSES.len() + status, 1);
        self.add(target + RECEIVED + kind, request.received);
        self.add(target + SENT + kind, request.sent);
        self.add(target + ENDED + request.outcome as usize, 1);
        if let Some(name) = request.error_code {
            self.add(target + REJECTIONS + error_codes::index(name), 1);
        }
        if request.retries > 0 {
            self.add(target + RETRIES, request.retries.into());
        }
        let total = micros(request.total);
        let bucket = histogram::bucket(total);
        self.observe(target + distribution(Latency::Total, route), bucket, total);
        for (latency, duration) in [(Latency::Upstream, request.upstream), (Latency::Overhead, request.overhead)] {
            let Some(micros) = duration.map(micros) else { continue };
            self.observe(target + distribution(latency, route), histogram::bucket(micros), micros);
        }
        if let Some(overhead) = request.overhead {
            self.observe(target + ANSWERED, bucket, total);
            for (share, time) in [overhead, request.calls.mlflow, request.calls.s3].into_iter().enumerate() {
                self.add(target + TIME + share, micros(time));
            }
        }
        if request.is_rejected() {
            self.add(target + REJECTED, 1);
        }
        if request.presigned != [0, 0] {
            self.add(target + PRESIGNED, request.presigned[0].into());
            self.add(target + PRESIGNED + 1, request.presigned[1].into());
        }
    }

    /// Counts a duration in this bucket of the distribution that begins with the cell `first`.
    fn observe(&self, first: usize, bucket: usize, micros: u64) {
        self.add(first + bucket, 1);
        self.add(first + BUCKETS, micros);
    }

    /// Returns the requests that failed recently.
    pub(crate) fn recent(&self) -> MutexGuard<'_, RecentFailures> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
