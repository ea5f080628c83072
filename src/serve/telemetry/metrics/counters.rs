//! The counters of one worker.
//!
//! Only the worker writes to them, so counting is a load and a store of memory that no other processor contends for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::access::caller::{Caller, Role};
use crate::serve::telemetry::metrics::caller_index::CallerIndex;
use crate::serve::telemetry::metrics::callers::{CallerRequest, CallerRows};
use crate::serve::telemetry::metrics::error_codes;
use crate::serve::telemetry::metrics::failures::{FailedRequest, RecentFailures};
use crate::serve::telemetry::metrics::histogram::{self, BUCKETS};
use crate::serve::telemetry::metrics::layout::{
    ANSWERED, CLASSES, ENDED, Latency, PRESIGNED, RECEIVED, REFUSALS, REJECTED, REQUESTS, RETRIES, ROLES, SENT,
    STATUSES, TIME, base, distribution, size, status,
};
use crate::serve::telemetry::metrics::route::RouteClass;
use crate::serve::telemetry::metrics::time_shares::TimeShares;

/// The facts of one request that are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// The target's index, if the request was routed to one.
    pub target: Option<usize>,
    pub role: Option<Role>,
    pub route: RouteClass,
    pub status: Option<u16>,
    /// An index of [`super::layout::OUTCOMES`].
    pub outcome: usize,
    /// The error code, if the appliance rejected the request.
    pub refusal: Option<&'static str>,
    /// Attempts after the first.
    pub retries: u32,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the response's body.
    pub sent: u64,
    pub total: Duration,
    pub upstream: Option<Duration>,
    pub overhead: Option<Duration>,
    /// The shares of the total, if MLflow or S3 has answered.
    pub time: Option<TimeShares>,
    /// True if the appliance rejected the request because of the client.
    pub is_rejected: bool,
    /// The presigned URLs that the response contains, as in [`super::layout::PRESIGNED_KINDS`].
    pub presigned: [u32; 2],
}

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
    #[must_use]
    pub(crate) fn new(targets: usize, start: Instant) -> Self {
        let cells = (0..size(targets)).map(|_| AtomicU64::new(0)).collect();
        let shared = SharedCounters { targets, cells, recent: Mutex::default(), callers: CallerRows::default() };
        Self { shared: Arc::new(shared), callers: CallerIndex::new(start) }
    }

    /// Returns the part that other threads read.
    #[must_use]
    pub(crate) fn shared(&self) -> &Arc<SharedCounters> {
        &self.shared
    }

    /// Counts a request.
    pub(crate) fn count(&self, one: &Observation) {
        self.shared.count(one);
    }

    /// Counts a request of a caller, or of a client that is not authenticated.
    pub(crate) fn count_caller(&self, caller: Option<&Caller>, ended: Instant, request: CallerRequest) {
        self.callers.count(&self.shared.callers, caller, ended, request);
    }

    /// Keeps a failed request for the status page.
    pub(crate) fn remember(&self, failure: FailedRequest) {
        self.shared.recent().push(failure);
    }
}

impl SharedCounters {
    fn add(&self, cell: usize, more: u64) {
        // One thread writes, so nothing comes between the load and the store. Others read values of a moment ago.
        self.cells[cell].store(self.cells[cell].load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn count(&self, one: &Observation) {
        let target = base(self.targets, one.target);
        let role = one.role.map_or(ROLES.len() - 1, |role| role as usize);
        let (route, status) = (one.route as usize, status(one.status));
        let kind = role * CLASSES + route;
        self.add(target + REQUESTS + kind * STATUSES.len() + status, 1);
        self.add(target + RECEIVED + kind, one.received);
        self.add(target + SENT + kind, one.sent);
        self.add(target + ENDED + one.outcome, 1);
        if let Some(refusal) = one.refusal {
            self.add(target + REFUSALS + error_codes::index(refusal), 1);
        }
        if one.retries > 0 {
            self.add(target + RETRIES, one.retries.into());
        }
        let total = histogram::micros(one.total);
        let bucket = histogram::bucket(total);
        self.observe(target + distribution(Latency::Total, route), bucket, total);
        for (latency, duration) in [(Latency::Upstream, one.upstream), (Latency::Overhead, one.overhead)] {
            let Some(duration) = duration else { continue };
            let micros = histogram::micros(duration);
            self.observe(target + distribution(latency, route), histogram::bucket(micros), micros);
        }
        if let Some(time) = one.time {
            self.observe(target + ANSWERED, bucket, total);
            for (share, micros) in time.counted().into_iter().enumerate() {
                self.add(target + TIME + share, micros);
            }
        }
        if one.is_rejected {
            self.add(target + REJECTED, 1);
        }
        if one.presigned != [0, 0] {
            self.add(target + PRESIGNED, one.presigned[0].into());
            self.add(target + PRESIGNED + 1, one.presigned[1].into());
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
