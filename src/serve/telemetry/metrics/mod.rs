//! The metrics of requests.
//!
//! Each worker updates counters of its own, and a reader adds them up. Figures that live elsewhere, such as the expiry of
//! credentials, are read when they are asked for.

mod caller_index;
mod callers;
mod counters;
mod failures;
mod histogram;
mod history;
mod layout;
mod process;
mod route;
mod snapshot;
mod time_shares;

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

#[cfg(test)]
pub(crate) use self::histogram::{BUCKETS, bucket};
#[cfg(test)]
pub(crate) use self::layout::{PRESIGNED_KINDS, ROLES};
pub(crate) use callers::{CALLER_LIMIT, CallerFigures, CallerSums};
pub(crate) use counters::WorkerCounters;
pub(crate) use failures::FailureGroup;
pub(crate) use histogram::{BOUNDS, Distribution};
pub(crate) use history::{HistoryView, RequestTotals, STEP, STEPS, Step};
pub(crate) use layout::{Direction, Latency, STATUSES};
pub(crate) use process::ProcessUsage;
pub(crate) use route::RouteClass;
pub(crate) use snapshot::{Labelled, Snapshot};
pub(crate) use time_shares::TimeShares;

use crate::clock;
use crate::http::body::BodyLimits;
use counters::SharedCounters;
use history::{History, TICK};

/// The metrics of the process.
pub(crate) struct Metrics {
    /// The labels of the targets, in the order of the targets.
    labels: Vec<String>,
    counters: Mutex<Vec<Arc<SharedCounters>>>,
    history: History,
    /// The moment from which the times of callers count.
    start: Instant,
    /// The time at which the process began to serve.
    pub(crate) started: SystemTime,
    /// The budgets of request bodies.
    pub(crate) body_limits: BodyLimits,
}

/// The label of requests that have no target. No target can have this name.
const NO_TARGET: &str = "(none)";

impl Metrics {
    /// Makes metrics for targets of these names. The label of a target without a name is `default`.
    pub(crate) fn new<'a>(names: impl Iterator<Item = Option<&'a str>>, body_limits: BodyLimits) -> Self {
        let names: Vec<_> = names.collect();
        // Another target may have the name `default`.
        let unnamed = if names.contains(&Some("default")) { "(default)" } else { "default" };
        Self {
            labels: names.into_iter().map(|name| name.unwrap_or(unnamed).to_owned()).collect(),
            counters: Mutex::default(),
            history: History::new(Instant::now()),
            start: Instant::now(),
            started: clock::now(),
            body_limits,
        }
    }

    /// Makes counters for one more worker, which alone may update them. They stay in the sum when the worker ends.
    pub(crate) fn add_worker(&self) -> Rc<WorkerCounters> {
        let counters = WorkerCounters::new(self.labels.len(), self.start);
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(counters.shared()));
        Rc::new(counters)
    }

    fn counters(&self) -> Vec<Arc<SharedCounters>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the sum of all workers' counters.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(self.labels.len());
        self.counters().iter().for_each(|counters| snapshot.add(counters));
        snapshot
    }

    /// Returns the label of a target.
    pub(crate) fn label(&self, target: Option<usize>) -> &str {
        target.and_then(|target| self.labels.get(target)).map_or(NO_TARGET, String::as_str)
    }

    /// Returns the figures of the last hour.
    pub(crate) fn view(&self, snapshot: &Snapshot) -> HistoryView {
        self.history.view(Instant::now(), &RequestTotals::of(snapshot))
    }

    /// Returns the failures since the start, grouped, the newest first.
    pub(crate) fn failures(&self) -> Vec<FailureGroup> {
        let all = self.counters();
        failures::newest(all.iter().flat_map(|counters| counters.recent().all().cloned().collect::<Vec<_>>()))
    }

    /// Returns the figures of the callers.
    pub(crate) fn callers(&self) -> CallerSums {
        CallerSums::of(self.counters().iter().map(|counters| &counters.callers))
    }

    /// Returns the time of day that is so many milliseconds after the start.
    pub(crate) fn time_of(&self, milliseconds: u64) -> SystemTime {
        self.started + Duration::from_millis(milliseconds)
    }

    /// Keeps the history for as long as it is polled. Exactly one task runs this.
    pub(crate) async fn keep_history(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.history.tick(Instant::now(), RequestTotals::of(&self.snapshot()));
        }
    }
}
