//! The sum of all workers' counters at one moment.

use std::sync::atomic::Ordering;

use crate::serve::telemetry::metrics::counters::WorkerCounters;
use crate::serve::telemetry::metrics::error_codes::ERROR_CODES;
use crate::serve::telemetry::metrics::histogram::{BUCKETS, Distribution};
use crate::serve::telemetry::metrics::layout::{
    Direction, ENDED, Latency, OUTCOMES, RECEIVED, REFUSALS, REQUESTS, RETRIES, ROLES, SENT, STATUSES, base,
    distribution, size,
};
use crate::serve::telemetry::metrics::route::RouteClass;

/// The sum of all workers' counters. In its methods, the target `None` stands for requests that have no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    targets: usize,
    cells: Vec<u64>,
}

/// A number with the labels that it has besides the target.
type Labelled<const N: usize> = ([&'static str; N], u64);

impl Snapshot {
    /// Makes a snapshot of zeros for so many targets.
    #[must_use]
    pub(crate) fn new(targets: usize) -> Self {
        Self { targets, cells: vec![0; size(targets)] }
    }

    /// Adds the counters of one worker.
    pub(crate) fn add(&mut self, counters: &WorkerCounters) {
        for (sum, cell) in self.cells.iter_mut().zip(&counters.cells) {
            *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }

    fn block(&self, target: Option<usize>, offset: usize) -> impl Iterator<Item = u64> {
        self.cells[base(self.targets, target) + offset..].iter().copied()
    }

    /// Returns the requests by role, route and status.
    pub(crate) fn requests(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<3>> {
        let labels = ROLES.into_iter().flat_map(|role| {
            RouteClass::ALL.into_iter().flat_map(move |route| STATUSES.map(|status| [role, route.as_str(), status]))
        });
        labels.zip(self.block(target, REQUESTS))
    }

    /// Returns the bytes of bodies by role and route.
    pub(crate) fn bytes(&self, target: Option<usize>, direction: Direction) -> impl Iterator<Item = Labelled<2>> {
        let offset = match direction {
            Direction::Received => RECEIVED,
            Direction::Sent => SENT,
        };
        let labels = ROLES.into_iter().flat_map(|role| RouteClass::ALL.map(|route| [role, route.as_str()]));
        labels.zip(self.block(target, offset))
    }

    /// Returns the requests by the way their responses ended.
    pub(crate) fn ended(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        OUTCOMES.map(|outcome| [outcome]).into_iter().zip(self.block(target, ENDED))
    }

    /// Returns the rejected requests by error code.
    pub(crate) fn refusals(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        ERROR_CODES.iter().map(|code| [code.kind]).zip(self.block(target, REFUSALS))
    }

    /// Returns the number of attempts after the first.
    #[must_use]
    pub(crate) fn retries(&self, target: Option<usize>) -> u64 {
        self.cells[base(self.targets, target) + RETRIES]
    }

    /// Returns the distribution of a latency over the requests of one route.
    #[must_use]
    pub(crate) fn latency(&self, target: Option<usize>, latency: Latency, route: RouteClass) -> Distribution {
        let first = base(self.targets, target) + distribution(latency, route as usize);
        let mut found = Distribution::default();
        found.buckets.copy_from_slice(&self.cells[first..first + BUCKETS]);
        found.sum = self.cells[first + BUCKETS];
        found
    }

    /// Returns the distribution of a latency over all requests of a target.
    #[must_use]
    pub(crate) fn latency_of_all_routes(&self, target: Option<usize>, latency: Latency) -> Distribution {
        let mut all = Distribution::default();
        for route in RouteClass::ALL {
            all.add(&self.latency(target, latency, route));
        }
        all
    }

    /// Returns the targets, and `None` for requests that have no target.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Option<usize>> + use<> {
        (0..self.targets).map(Some).chain([None])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::caller::Role;
    use crate::serve::telemetry::metrics::counters::Observation;

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
    fn an_observation_changes_its_own_cells_only() {
        let (first, second) = (WorkerCounters::new(2), WorkerCounters::new(2));
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
        let mut snapshot = Snapshot::new(2);
        snapshot.add(&first);
        snapshot.add(&second);
        let some = |all: &mut dyn Iterator<Item = Labelled<3>>| all.filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(some(&mut snapshot.requests(Some(1))), [(["write", "runs", "2xx"], 2)]);
        assert_eq!(some(&mut snapshot.requests(None)), [(["none", "none", "none"], 1)]);
        assert_eq!(some(&mut snapshot.requests(Some(0))), []);
        assert_eq!(
            snapshot.bytes(Some(1), Direction::Received).find(|(_, bytes)| *bytes > 0),
            Some((["write", "runs"], 20))
        );
        assert_eq!(
            snapshot.bytes(Some(1), Direction::Sent).find(|(_, bytes)| *bytes > 0),
            Some((["write", "runs"], 40))
        );
        assert_eq!(snapshot.ended(None).map(|(_, count)| count).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(snapshot.refusals(None).find(|(_, count)| *count > 0), Some((["unauthenticated"], 1)));
        assert_eq!((snapshot.retries(None), snapshot.retries(Some(1))), (3, 0));
        assert_eq!(snapshot.latency(Some(1), Latency::Overhead, RouteClass::Runs).sum, 400);
        assert_eq!(snapshot.latency_of_all_routes(Some(1), Latency::Upstream).count(), 2);
        assert_eq!(snapshot.latency_of_all_routes(None, Latency::Upstream).count(), 0);
        assert_eq!(snapshot.latency_of_all_routes(None, Latency::Total).count(), 1);
        // Every cell that is not named above is still zero.
        assert_eq!(snapshot.cells.iter().filter(|cell| **cell > 0).count(), 10 + 8);
    }

    #[test]
    fn any_status_and_target_has_a_cell() {
        let counters = WorkerCounters::new(1);
        for status in [0, 42, 99, 100, 599, 600, 999, u16::MAX] {
            counters.count(&Observation { status: Some(status), target: Some(7), ..observation() });
        }
        let mut snapshot = Snapshot::new(1);
        snapshot.add(&counters);
        assert_eq!(snapshot.requests(None).map(|(_, count)| count).sum::<u64>(), 8);
    }
}
