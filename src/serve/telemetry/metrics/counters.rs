//! The counters of one worker.
//!
//! Only the worker writes to them, so counting is a load and a store of memory that no other processor contends for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::access::caller::Role;
use crate::serve::telemetry::metrics::error_codes;
use crate::serve::telemetry::metrics::failures::{FailedRequest, RecentFailures};
use crate::serve::telemetry::metrics::histogram::{self, BUCKETS};
use crate::serve::telemetry::metrics::layout::{
    CLASSES, ENDED, Latency, RECEIVED, REFUSALS, REQUESTS, RETRIES, ROLES, SENT, STATUSES, base, distribution, size,
    status,
};
use crate::serve::telemetry::metrics::route::RouteClass;

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
}

/// The counters of one worker.
pub(crate) struct WorkerCounters {
    targets: usize,
    pub(super) cells: Box<[AtomicU64]>,
    /// The lock is free nearly always: another thread takes it only to render the status page.
    recent: Mutex<RecentFailures>,
}

impl WorkerCounters {
    /// Makes counters for so many targets, and for requests that have no target.
    #[must_use]
    pub(crate) fn new(targets: usize) -> Self {
        let cells = (0..size(targets)).map(|_| AtomicU64::new(0)).collect();
        Self { targets, cells, recent: Mutex::default() }
    }

    fn add(&self, cell: usize, more: u64) {
        // One thread writes, so nothing comes between the load and the store. Others read values of a moment ago.
        self.cells[cell].store(self.cells[cell].load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Counts a request. Only the counters' own worker may call this.
    pub(crate) fn count(&self, one: &Observation) {
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
        for (latency, duration) in
            [(Latency::Total, Some(one.total)), (Latency::Upstream, one.upstream), (Latency::Overhead, one.overhead)]
        {
            let Some(duration) = duration else { continue };
            let micros = histogram::micros(duration);
            let first = target + distribution(latency, route);
            self.add(first + histogram::bucket(micros), 1);
            self.add(first + BUCKETS, micros);
        }
    }

    /// Keeps a failed request for the status page.
    pub(crate) fn remember(&self, failure: FailedRequest) {
        self.recent().push(failure);
    }

    /// Returns the requests that failed recently.
    pub(crate) fn recent(&self) -> MutexGuard<'_, RecentFailures> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
