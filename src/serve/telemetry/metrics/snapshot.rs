//! The sum of all workers' counters at one moment.

use std::sync::atomic::Ordering;

use crate::serve::telemetry::error_codes::ERROR_CODES;
use crate::serve::telemetry::finished::RequestOutcome;
use crate::serve::telemetry::metrics::counters::SharedCounters;
use crate::serve::telemetry::metrics::histogram::{BUCKETS, Distribution};
use crate::serve::telemetry::metrics::layout::{
    ANSWERED, Direction, ENDED, Latency, PRESIGNED, PRESIGNED_KINDS, RECEIVED, REJECTED, REJECTIONS, REQUESTS, RETRIES,
    ROLES, SENT, SERVER_ERROR, STATUSES, TIME, base, distribution, size,
};
use crate::serve::telemetry::metrics::route::RouteClass;
use crate::serve::telemetry::metrics::time_shares::TimeShares;

/// The sum of all workers' counters. In its methods, the target `None` stands for requests that have no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    targets: usize,
    cells: Vec<u64>,
}

/// A number with the labels that it has besides the target.
pub(crate) type Labelled<const N: usize> = ([&'static str; N], u64);

impl Snapshot {
    /// Makes a snapshot of zeros for so many targets.
    pub(crate) fn new(targets: usize) -> Self {
        Self { targets, cells: vec![0; size(targets)] }
    }

    /// Adds the counters of one worker.
    pub(crate) fn add(&mut self, counters: &SharedCounters) {
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
            RouteClass::LABELS.into_iter().flat_map(move |route| STATUSES.map(|status| [role, route, status]))
        });
        labels.zip(self.block(target, REQUESTS))
    }

    /// Returns the bytes of bodies by role and route.
    pub(crate) fn bytes(&self, target: Option<usize>, direction: Direction) -> impl Iterator<Item = Labelled<2>> {
        let offset = match direction {
            Direction::Received => RECEIVED,
            Direction::Sent => SENT,
        };
        let labels = ROLES.into_iter().flat_map(|role| RouteClass::LABELS.map(|route| [role, route]));
        labels.zip(self.block(target, offset))
    }

    /// Returns the requests by the way their responses ended.
    pub(crate) fn ended(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        RequestOutcome::LABELS.map(|outcome| [outcome]).into_iter().zip(self.block(target, ENDED))
    }

    /// Returns the rejected requests by error code.
    pub(crate) fn rejections(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        ERROR_CODES.iter().map(|code| [code.name]).zip(self.block(target, REJECTIONS))
    }

    /// Returns the number of attempts after the first.
    pub(crate) fn retries(&self, target: Option<usize>) -> u64 {
        self.cells[base(self.targets, target) + RETRIES]
    }

    /// Returns the number of requests. Every second this is called for every target, so it does not look at labels.
    pub(crate) fn request_count(&self, target: Option<usize>) -> u64 {
        self.by_status(target).iter().sum()
    }

    /// Returns the number of requests that got a 5xx or a truncated response.
    pub(crate) fn failed(&self, target: Option<usize>) -> u64 {
        let errors: u64 = self.by_status(target).iter().skip(SERVER_ERROR).step_by(STATUSES.len()).sum();
        // The status of a truncated response does not show the failure.
        errors + self.cells[base(self.targets, target) + ENDED + RequestOutcome::Truncated as usize]
    }

    /// The numbers of requests, of which the statuses of one role and route lie together.
    fn by_status(&self, target: Option<usize>) -> &[u64] {
        let first = base(self.targets, target);
        &self.cells[first + REQUESTS..first + RECEIVED]
    }

    /// Returns the number of requests that the appliance rejected with a 4xx.
    pub(crate) fn rejected(&self, target: Option<usize>) -> u64 {
        self.cells[base(self.targets, target) + REJECTED]
    }

    /// Returns the number of presigned URLs that clients got, by kind.
    pub(crate) fn presigned(&self, target: Option<usize>) -> impl Iterator<Item = Labelled<1>> {
        PRESIGNED_KINDS.map(|kind| [kind]).into_iter().zip(self.block(target, PRESIGNED))
    }

    /// Returns the distribution of the duration of requests that MLflow or S3 has answered, and the shares of the total.
    pub(crate) fn answered(&self, target: Option<usize>) -> (Distribution, TimeShares) {
        let first = base(self.targets, target);
        let total = self.distribution(first + ANSWERED);
        let shares = std::array::from_fn(|share| self.cells[first + TIME + share]);
        (total, TimeShares::of_counted(shares, total.sum))
    }

    /// Returns the distribution of a latency over the requests of one route.
    pub(crate) fn latency(&self, target: Option<usize>, latency: Latency, route: RouteClass) -> Distribution {
        self.distribution(base(self.targets, target) + distribution(latency, route as usize))
    }

    fn distribution(&self, first: usize) -> Distribution {
        let mut found = Distribution::default();
        found.buckets.copy_from_slice(&self.cells[first..first + BUCKETS]);
        found.sum = self.cells[first + BUCKETS];
        found
    }

    /// Returns the targets, and `None` for requests that have no target.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Option<usize>> + use<> {
        (0..self.targets).map(Some).chain([None])
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use actix_web::http::StatusCode;

    use super::*;
    use crate::access::caller::{AuthMethod, Caller, Role, Targets};
    use crate::serve::telemetry::finished::{CallTimes, FinishedRequest};
    use crate::serve::telemetry::metrics::counters::WorkerCounters;

    fn caller(role: Role) -> Caller {
        let (name, targets) = ("ada".to_owned(), Targets::All);
        Caller { name, role, targets, auth_method: AuthMethod::Token, issuer: None, expires: None }
    }

    fn answered(caller: &Caller) -> FinishedRequest<'_> {
        FinishedRequest {
            target: Some(1),
            caller: Some(caller),
            action: Some("runs:create"),
            status: Some(StatusCode::CREATED),
            received: 10,
            sent: 20,
            total: Duration::from_millis(30),
            upstream: Some(Duration::from_millis(29)),
            overhead: Some(Duration::from_micros(200)),
            calls: CallTimes { mlflow: Duration::from_millis(29), s3: Duration::ZERO },
            ..FinishedRequest::plain()
        }
    }

    #[test]
    fn a_request_changes_its_own_cells_only() {
        let start = Instant::now();
        let (first, second) = (WorkerCounters::new(2, start), WorkerCounters::new(2, start));
        let writer = caller(Role::Write);
        first.count(&answered(&writer));
        second.count(&answered(&writer));
        second.count(&FinishedRequest {
            target: None,
            caller: None,
            action: None,
            status: Some(StatusCode::UNAUTHORIZED),
            outcome: RequestOutcome::CallerGone,
            error_code: Some("unauthenticated"),
            retries: 3,
            upstream: None,
            overhead: None,
            presigned: [4, 5],
            ..answered(&writer)
        });
        let mut snapshot = Snapshot::new(2);
        snapshot.add(first.shared());
        snapshot.add(second.shared());
        let some = |all: &mut dyn Iterator<Item = Labelled<3>>| all.filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(some(&mut snapshot.requests(Some(1))), [(["write", "runs", "2xx"], 2)]);
        assert_eq!(some(&mut snapshot.requests(None)), [(["none", "none", "4xx"], 1)]);
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
        assert_eq!(snapshot.rejections(None).find(|(_, count)| *count > 0), Some((["unauthenticated"], 1)));
        assert_eq!((snapshot.retries(None), snapshot.retries(Some(1))), (3, 0));
        assert_eq!(snapshot.latency(Some(1), Latency::Overhead, RouteClass::Runs).sum, 400);
        assert_eq!(snapshot.latency(Some(1), Latency::Upstream, RouteClass::Runs).count(), 2);
        assert_eq!(snapshot.latency(None, Latency::Upstream, RouteClass::None).count(), 0);
        assert_eq!(snapshot.latency(None, Latency::Total, RouteClass::None).count(), 1);
        let (total, time) = snapshot.answered(Some(1));
        assert_eq!((total.count(), total.sum), (2, 60_000));
        assert_eq!(time, TimeShares { appliance: 400, mlflow: 58_000, s3: 0, bodies: 1_600 });
        assert_eq!(snapshot.answered(None).0.count(), 0);
        assert_eq!((snapshot.rejected(None), snapshot.rejected(Some(1)), snapshot.failed(None)), (1, 0, 0));
        assert_eq!(snapshot.presigned(None).collect::<Vec<_>>(), [(["download"], 4), (["upload"], 5)]);
        // Every cell that is not named above is still zero.
        assert_eq!(snapshot.cells.iter().filter(|cell| **cell > 0).count(), 14 + 11);
    }

    #[test]
    fn requests_and_failures_are_counted_as_their_labels_say() {
        let counters = WorkerCounters::new(2, Instant::now());
        let statuses = [None, Some(100), Some(200), Some(302), Some(404), Some(500), Some(503), Some(599)];
        let actions = ["experiments:get", "runs:get", "metrics:get-history"];
        for ((role, outcome), action) in Role::ALL.into_iter().zip(RequestOutcome::ALL).zip(actions) {
            let caller = caller(role);
            for status in statuses {
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                let (target, action) = (Some(0), Some(action));
                counters.count(&FinishedRequest { target, action, status, outcome, ..answered(&caller) });
            }
        }
        let mut snapshot = Snapshot::new(2);
        snapshot.add(counters.shared());
        let labelled = |wanted: &str| -> u64 {
            snapshot.requests(Some(0)).filter(|([_, _, status], _)| *status == wanted).map(|(_, count)| count).sum()
        };
        let truncated: u64 =
            snapshot.ended(Some(0)).filter(|([outcome], _)| *outcome == "truncated").map(|(_, count)| count).sum();
        assert_eq!((labelled("5xx"), truncated), (9, 8));
        assert_eq!(snapshot.failed(Some(0)), labelled("5xx") + truncated);
        assert_eq!(snapshot.request_count(Some(0)), snapshot.requests(Some(0)).map(|(_, count)| count).sum::<u64>());
        assert_eq!((snapshot.request_count(Some(1)), snapshot.failed(Some(1))), (0, 0));
    }

    #[test]
    fn any_status_and_target_has_a_cell() {
        let counters = WorkerCounters::new(1, Instant::now());
        let writer = caller(Role::Write);
        for status in [100, 199, 200, 399, 599, 600, 999] {
            let status = StatusCode::from_u16(status).ok();
            assert!(status.is_some());
            counters.count(&FinishedRequest { status, target: Some(7), ..answered(&writer) });
        }
        let mut snapshot = Snapshot::new(1);
        snapshot.add(counters.shared());
        assert_eq!(snapshot.requests(None).map(|(_, count)| count).sum::<u64>(), 7);
    }
}
