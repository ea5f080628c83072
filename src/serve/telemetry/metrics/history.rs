//! The figures of the last hour, in a fixed number of steps for charts, and those of the last seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::serve::telemetry::metrics::histogram::Distribution;
use crate::serve::telemetry::metrics::snapshot::Snapshot;
use crate::serve::telemetry::metrics::time_shares::TimeShares;

/// The length of a step.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// The number of steps in an hour.
pub(crate) const STEPS: usize = 120;
/// The number of ticks that make up the last seconds.
const MOMENT: usize = 10;
/// The interval at which the counters are read.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// The sum over all targets, and over requests that have no target, up to one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestTotals {
    /// The number of requests.
    pub requests: u64,
    /// The requests that got a 5xx or a truncated response.
    pub failed: u64,
    /// The requests that the appliance rejected with a 4xx. A 4xx of MLflow is an ordinary response.
    pub rejected: u64,
    /// The distribution of the durations of those that MLflow or S3 has answered.
    pub answered: Distribution,
    /// The shares of these durations.
    pub time: TimeShares,
}

impl RequestTotals {
    /// Adds up a snapshot.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut sum = Self::default();
        for target in snapshot.targets() {
            sum.requests += snapshot.request_count(target);
            sum.failed += snapshot.failed(target);
            sum.rejected += snapshot.rejected(target);
            let (answered, time) = snapshot.answered(target);
            sum.answered.add(&answered);
            sum.time.add(&time);
        }
        sum
    }

    /// Returns the difference to an earlier sum.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            answered: self.answered.since(&earlier.answered),
            time: self.time.since(&earlier.time),
        }
    }
}

/// One step of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub requests: u64,
    pub failed: u64,
    pub rejected: u64,
    /// The number of requests that MLflow or S3 has answered.
    pub answered: u64,
    /// The median of their durations in milliseconds.
    pub median: Option<f64>,
    /// The 99th percentile of their durations in milliseconds.
    pub high: Option<f64>,
    /// The shares of these durations.
    pub time: TimeShares,
}

impl From<RequestTotals> for Step {
    fn from(totals: RequestTotals) -> Self {
        let RequestTotals { requests, failed, rejected, answered, time } = totals;
        let (median, high) = (answered.quantile(0.5), answered.quantile(0.99));
        Self { requests, failed, rejected, answered: answered.count(), median, high, time }
    }
}

/// The figures of the last hour.
pub(crate) struct History(Mutex<HistoryState>);

struct HistoryState {
    /// The completed steps, the oldest first.
    steps: VecDeque<Step>,
    /// The beginning of the current step, and the sum at that time.
    began: (Instant, RequestTotals),
    /// The sums at the last ticks, the oldest first.
    ticks: VecDeque<(Instant, RequestTotals)>,
}

/// The history as the status page shows it.
pub(crate) struct HistoryView {
    /// The completed steps, the oldest first, and the current one.
    pub steps: Vec<Step>,
    /// The age of the current step.
    pub running: Duration,
    /// The figures of the last seconds, and the number of seconds.
    pub moment: (RequestTotals, Duration),
}

impl History {
    /// Begins a history.
    pub(crate) fn new(now: Instant) -> Self {
        let begin = (now, RequestTotals::default());
        Self(Mutex::new(HistoryState { steps: VecDeque::new(), began: begin, ticks: VecDeque::from([begin]) }))
    }

    fn state(&self) -> MutexGuard<'_, HistoryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the sum at `now`. The caller does this every [`TICK`].
    pub(crate) fn tick(&self, now: Instant, totals: RequestTotals) {
        let mut state = self.state();
        state.ticks.push_back((now, totals));
        while state.ticks.len() > MOMENT + 1 {
            state.ticks.pop_front();
        }
        // A tick that is a little early also ends the step.
        if now.duration_since(state.began.0) + TICK / 2 >= STEP {
            let step = totals.since(&state.began.1).into();
            state.steps.push_back(step);
            // The current step takes one place.
            while state.steps.len() >= STEPS {
                state.steps.pop_front();
            }
            state.began = (now, totals);
        }
    }

    /// Returns the history at `now`, when the sum is `totals`.
    pub(crate) fn view(&self, now: Instant, totals: &RequestTotals) -> HistoryView {
        let state = self.state();
        let running: Step = totals.since(&state.began.1).into();
        let (since, before) = state.ticks.front().copied().unwrap_or(state.began);
        HistoryView {
            steps: state.steps.iter().copied().chain([running]).collect(),
            running: now.duration_since(state.began.0),
            moment: (totals.since(&before), now.duration_since(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64) -> RequestTotals {
        RequestTotals { requests, failed: requests / 10, ..RequestTotals::default() }
    }

    #[test]
    fn the_history_keeps_one_hour() {
        let start = Instant::now();
        let history = History::new(start);
        for second in 1..=7200 {
            history.tick(start + Duration::from_secs(second), totals(second * 10));
        }
        let view = history.view(start + Duration::from_secs(7205), &totals(72_050));
        assert_eq!(view.steps.len(), STEPS);
        assert!(view.steps[..STEPS - 1].iter().all(|step| step.requests == 300), "{:?}", view.steps);
        assert_eq!((view.steps[STEPS - 1].requests, view.running), (50, Duration::from_secs(5)));
        assert_eq!((view.moment.0.requests, view.moment.1), (150, Duration::from_secs(15)));
    }

    #[test]
    fn the_current_step_is_shown_from_its_beginning() {
        let start = Instant::now();
        let history = History::new(start);
        let view = history.view(start + Duration::from_secs(2), &totals(20));
        assert_eq!((view.steps.len(), view.steps[0].requests, view.steps[0].failed), (1, 20, 2));
        assert_eq!((view.moment.0.requests, view.moment.1), (20, Duration::from_secs(2)));
    }
}
