//! What one worker has counted, and the sum over all workers.
//!
//! A worker alone writes to its sheet, so counting is a load and a store of memory that no other processor wants: no
//! lock, no allocation, and no text, because every combination of labels has its place from the start. How many there
//! are depends on the number of targets and on nothing that a caller sends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::access::caller::Role;
use crate::serve::telemetry::metrics::explanation::EXPLANATIONS;
use crate::serve::telemetry::metrics::failures::{Failure, Recent};
use crate::serve::telemetry::metrics::histogram::{self, BUCKETS, Distribution};
use crate::serve::telemetry::metrics::route::RouteClass;

/// What a caller may be; the last is nobody.
pub(crate) const ROLES: [&str; 4] = ["read", "write", "admin", "none"];
/// What an answer may be; the last is none at all.
pub(crate) const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// How an answer may end, as in the log.
pub(crate) const OUTCOMES: [&str; 3] = ["complete", "caller-gone", "truncated"];
const CLASSES: usize = RouteClass::ALL.len();

/// What a duration is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From the head of the request to the last byte of the answer.
    Total,
    /// From sending the request upstream to the head of the answer.
    Upstream,
    /// What the appliance adds to that until the head of its own answer, without waiting for the caller's body.
    Overhead,
}

/// Which way bytes went, as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From callers.
    Received,
    /// To them.
    Sent,
}

const SPANS: usize = 3;
const DISTRIBUTION: usize = BUCKETS + 1;

// Where the cells of one target begin, each block after the one before.
const REQUESTS: usize = 0;
const RECEIVED: usize = REQUESTS + ROLES.len() * CLASSES * STATUSES.len();
const SENT: usize = RECEIVED + ROLES.len() * CLASSES;
const ENDED: usize = SENT + ROLES.len() * CLASSES;
const REFUSALS: usize = ENDED + OUTCOMES.len();
const RETRIES: usize = REFUSALS + EXPLANATIONS.len();
const SPENT: usize = RETRIES + 1;
/// Cells of one target.
const WIDTH: usize = SPENT + SPANS * CLASSES * DISTRIBUTION;

/// One request, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// The target's index; nothing if it did not come to one.
    pub target: Option<usize>,
    pub role: Option<Role>,
    pub route: RouteClass,
    pub status: Option<u16>,
    /// As an index of [`OUTCOMES`].
    pub outcome: usize,
    /// Why it was refused.
    pub refusal: Option<&'static str>,
    /// Attempts after the first.
    pub retries: u32,
    /// Bytes of the request's body and of the answer's.
    pub received: u64,
    pub sent: u64,
    pub total: Duration,
    pub upstream: Option<Duration>,
    pub overhead: Option<Duration>,
}

/// What one worker has counted.
pub(crate) struct Sheet {
    targets: usize,
    cells: Box<[AtomicU64]>,
    /// Its own, and read once in a while: nobody waits for it.
    recent: Mutex<Recent>,
}

impl Sheet {
    /// An empty sheet for so many targets, and for what belongs to none.
    #[must_use]
    pub(crate) fn new(targets: usize) -> Self {
        let cells = (0..(targets + 1) * WIDTH).map(|_| AtomicU64::new(0)).collect();
        Self { targets, cells, recent: Mutex::default() }
    }

    fn add(&self, cell: usize, more: u64) {
        // One thread writes, so nothing comes in between. Others read what was true a moment ago.
        self.cells[cell].store(self.cells[cell].load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Counts a request. Only for the sheet's own worker.
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
            self.add(target + REFUSALS + crate::serve::telemetry::metrics::explanation::index(refusal), 1);
        }
        if one.retries > 0 {
            self.add(target + RETRIES, one.retries.into());
        }
        for (span, duration) in
            [(Span::Total, Some(one.total)), (Span::Upstream, one.upstream), (Span::Overhead, one.overhead)]
        {
            let Some(duration) = duration else { continue };
            let micros = histogram::micros(duration);
            let first = target + spent(span, route);
            self.add(first + histogram::bucket(micros), 1);
            self.add(first + BUCKETS, micros);
        }
    }

    /// Keeps a failure for people to look at.
    pub(crate) fn remember(&self, failure: Failure) {
        self.recent().push(failure);
    }

    /// What failed lately.
    pub(crate) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn base(targets: usize, target: Option<usize>) -> usize {
    target.unwrap_or(targets).min(targets) * WIDTH
}

fn spent(span: Span, route: usize) -> usize {
    SPENT + (span as usize * CLASSES + route) * DISTRIBUTION
}

fn status(status: Option<u16>) -> usize {
    status.map_or(STATUSES.len() - 1, |status| usize::from((status / 100).clamp(1, 5)) - 1)
}

/// What all workers together have counted until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    targets: usize,
    cells: Vec<u64>,
}

/// A number with the labels that it has besides the target.
type Labelled<const N: usize> = ([&'static str; N], u64);

impl Totals {
    /// Nothing, for so many targets.
    #[must_use]
    pub(crate) fn new(targets: usize) -> Self {
        Self { targets, cells: vec![0; (targets + 1) * WIDTH] }
    }

    /// Adds what one worker has counted.
    pub(crate) fn add(&mut self, sheet: &Sheet) {
        for (sum, cell) in self.cells.iter_mut().zip(&sheet.cells) {
            *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let cells = self.cells.iter().zip(&earlier.cells).map(|(now, before)| now.saturating_sub(*before));
        Self { targets: self.targets, cells: cells.collect() }
    }

    /// Requests by role, route and status. Everywhere here, `None` is what belongs to no target.
    pub(crate) fn requests(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<3>> {
        let first = base(self.targets, target) + REQUESTS;
        let places = ROLES.into_iter().flat_map(|role| {
            RouteClass::ALL.into_iter().flat_map(move |route| STATUSES.map(|status| [role, route.as_str(), status]))
        });
        places.zip(self.cells[first..].iter().copied())
    }

    /// Bytes of bodies, by role and route.
    pub(crate) fn bytes(&self, target: Option<usize>, direction: Direction) -> impl Iterator<Item = Labelled<2>> {
        let block = match direction {
            Direction::Received => RECEIVED,
            Direction::Sent => SENT,
        };
        let first = base(self.targets, target) + block;
        let places = ROLES.into_iter().flat_map(|role| RouteClass::ALL.map(|route| [role, route.as_str()]));
        places.zip(self.cells[first..].iter().copied())
    }

    /// Requests by how they ended.
    pub(crate) fn ended(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        let first = base(self.targets, target) + ENDED;
        OUTCOMES.map(|outcome| [outcome]).into_iter().zip(self.cells[first..].iter().copied())
    }

    /// Refusals by kind.
    pub(crate) fn refusals(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        let first = base(self.targets, target) + REFUSALS;
        EXPLANATIONS.iter().map(|known| [known.kind]).zip(self.cells[first..].iter().copied())
    }

    /// Attempts after the first.
    #[must_use]
    pub(crate) fn retries(&self, target: Option<usize>) -> u64 {
        self.cells[base(self.targets, target) + RETRIES]
    }

    /// How long requests of a route took.
    #[must_use]
    pub(crate) fn spent(&self, target: Option<usize>, span: Span, route: RouteClass) -> Distribution {
        let first = base(self.targets, target) + spent(span, route as usize);
        let mut distribution = Distribution::default();
        distribution.buckets.copy_from_slice(&self.cells[first..first + BUCKETS]);
        distribution.sum = self.cells[first + BUCKETS];
        distribution
    }

    /// How long all requests of a target took.
    #[must_use]
    pub(crate) fn spent_by_all(&self, target: Option<usize>, span: Span) -> Distribution {
        let mut all = Distribution::default();
        for route in RouteClass::ALL {
            all.add(&self.spent(target, span, route));
        }
        all
    }

    /// The targets, and what belongs to none.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Option<usize>> + use<> {
        (0..self.targets).map(Some).chain([None])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation() -> Observation {
        Observation {
            target: Some(1),
            role: Some(Role::Write),
            route: RouteClass::Runs,
            status: Some(201),
            outcome: 0,
            refusal: None,
            retries: 0,
            received: 10,
            sent: 20,
            total: Duration::from_millis(30),
            upstream: Some(Duration::from_millis(29)),
            overhead: Some(Duration::from_micros(200)),
        }
    }

    #[test]
    fn what_is_counted_stands_where_it_belongs_and_nowhere_else() {
        let (first, second) = (Sheet::new(2), Sheet::new(2));
        first.count(&observation());
        second.count(&observation());
        second.count(&Observation {
            target: None,
            role: None,
            route: RouteClass::None,
            status: None,
            outcome: 1,
            refusal: Some("unauthenticated"),
            retries: 3,
            upstream: None,
            overhead: None,
            ..observation()
        });
        let mut totals = Totals::new(2);
        totals.add(&first);
        totals.add(&second);
        let some = |all: &mut dyn Iterator<Item = Labelled<3>>| all.filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(some(&mut totals.requests(Some(1))), [(["write", "runs", "2xx"], 2)]);
        assert_eq!(some(&mut totals.requests(None)), [(["none", "none", "none"], 1)]);
        assert_eq!(some(&mut totals.requests(Some(0))), []);
        assert_eq!(
            totals.bytes(Some(1), Direction::Received).find(|(_, bytes)| *bytes > 0),
            Some((["write", "runs"], 20))
        );
        assert_eq!(totals.bytes(Some(1), Direction::Sent).find(|(_, bytes)| *bytes > 0), Some((["write", "runs"], 40)));
        assert_eq!(totals.ended(None).map(|(_, count)| count).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(totals.refusals(None).find(|(_, count)| *count > 0), Some((["unauthenticated"], 1)));
        assert_eq!((totals.retries(None), totals.retries(Some(1))), (3, 0));
        assert_eq!(totals.spent(Some(1), Span::Overhead, RouteClass::Runs).sum, 400);
        assert_eq!(totals.spent_by_all(Some(1), Span::Upstream).count(), 2);
        assert_eq!(totals.spent_by_all(None, Span::Upstream).count(), 0);
        assert_eq!(totals.spent_by_all(None, Span::Total).count(), 1);
        // Every cell that is not named above is still empty.
        assert_eq!(totals.cells.iter().filter(|cell| **cell > 0).count(), 10 + 8);
        assert_eq!(totals.since(&totals), Totals::new(2));
    }

    #[test]
    fn any_status_and_target_has_a_place() {
        let sheet = Sheet::new(1);
        for status in [0, 42, 99, 100, 599, 600, 999, u16::MAX] {
            sheet.count(&Observation { status: Some(status), target: Some(7), ..observation() });
        }
        let mut totals = Totals::new(1);
        totals.add(&sheet);
        assert_eq!(totals.requests(None).map(|(_, count)| count).sum::<u64>(), 8);
    }
}
