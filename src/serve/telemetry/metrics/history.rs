//! The last hour in a fixed number of steps, for charts; and what goes on in this moment.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::serve::telemetry::metrics::histogram::Distribution;
use crate::serve::telemetry::metrics::sheet::{Span, Totals};

/// How long a step is.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// Steps of an hour.
pub(crate) const STEPS: usize = 120;
/// What counts as this moment.
const MOMENT: usize = 10;
/// How often it is looked at.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What was counted until a moment: of all targets, and of what belongs to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Requests.
    pub requests: u64,
    /// Of those, answered with 5xx or not to the end.
    pub failed: u64,
    /// Answered with 4xx.
    pub refused: u64,
    /// How long they took.
    pub total: Distribution,
}

impl Summary {
    /// Of everything that was counted.
    #[must_use]
    pub(crate) fn of(totals: &Totals) -> Self {
        let mut summary = Self::default();
        for target in totals.targets() {
            for ([_, _, status], count) in totals.requests(target) {
                summary.requests += count;
                match status {
                    "5xx" => summary.failed += count,
                    "4xx" => summary.refused += count,
                    _ => {}
                }
            }
            // Its head said that all was well.
            summary.failed += totals
                .ended(target)
                .filter(|([outcome], _)| *outcome == "truncated")
                .map(|(_, count)| count)
                .sum::<u64>();
            summary.total.add(&totals.spent_by_all(target, Span::Total));
        }
        summary
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            refused: self.refused.saturating_sub(earlier.refused),
            total: self.total.since(&earlier.total),
        }
    }
}

/// One step, as charts need it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub requests: u64,
    pub failed: u64,
    pub refused: u64,
    /// Milliseconds that half, and 99 of 100, requests did not exceed.
    pub median: Option<f64>,
    pub high: Option<f64>,
}

impl From<Summary> for Step {
    fn from(summary: Summary) -> Self {
        let Summary { requests, failed, refused, total } = summary;
        Self { requests, failed, refused, median: total.quantile(0.5), high: total.quantile(0.99) }
    }
}

/// The last hour.
pub(crate) struct History(Mutex<State>);

struct State {
    /// Steps that are over, the oldest first.
    steps: VecDeque<Step>,
    /// When the running step began, and what had been counted by then.
    began: (Instant, Summary),
    /// What had been counted at each of the last ticks, the oldest first.
    ticks: VecDeque<(Instant, Summary)>,
}

/// What there is to show.
pub(crate) struct View {
    /// Steps that are over, the oldest first, and the one that runs.
    pub steps: Vec<Step>,
    /// How long the running one has run.
    pub running: Duration,
    /// What came in the last seconds, and how many seconds those are.
    pub moment: (Summary, Duration),
}

impl History {
    /// Begins now.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        let begin = (now, Summary::default());
        Self(Mutex::new(State { steps: VecDeque::new(), began: begin, ticks: VecDeque::from([begin]) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what has been counted until `now`; every [`TICK`].
    pub(crate) fn tick(&self, now: Instant, summary: Summary) {
        let mut state = self.state();
        state.ticks.push_back((now, summary));
        while state.ticks.len() > MOMENT + 1 {
            state.ticks.pop_front();
        }
        // A tick that comes a moment early ends the step, too.
        if now.duration_since(state.began.0) + TICK / 2 >= STEP {
            let step = summary.since(&state.began.1).into();
            state.steps.push_back(step);
            // One place is for the running step.
            while state.steps.len() >= STEPS {
                state.steps.pop_front();
            }
            state.began = (now, summary);
        }
    }

    /// What there is to show at `now`, when this has been counted.
    pub(crate) fn view(&self, now: Instant, summary: &Summary) -> View {
        let state = self.state();
        let running: Step = summary.since(&state.began.1).into();
        let (since, before) = state.ticks.front().copied().unwrap_or(state.began);
        View {
            steps: state.steps.iter().copied().chain([running]).collect(),
            running: now.duration_since(state.began.0),
            moment: (summary.since(&before), now.duration_since(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(requests: u64) -> Summary {
        Summary { requests, failed: requests / 10, ..Summary::default() }
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let start = Instant::now();
        let history = History::new(start);
        for second in 1..=7200 {
            history.tick(start + Duration::from_secs(second), summary(second * 10));
        }
        let view = history.view(start + Duration::from_secs(7205), &summary(72_050));
        assert_eq!(view.steps.len(), STEPS);
        assert!(view.steps[..STEPS - 1].iter().all(|step| step.requests == 300), "{:?}", view.steps);
        assert_eq!((view.steps[STEPS - 1].requests, view.running), (50, Duration::from_secs(5)));
        assert_eq!((view.moment.0.requests, view.moment.1), (150, Duration::from_secs(15)));
    }

    #[test]
    fn what_runs_is_shown_from_the_first_moment() {
        let start = Instant::now();
        let history = History::new(start);
        let view = history.view(start + Duration::from_secs(2), &summary(20));
        assert_eq!((view.steps.len(), view.steps[0].requests, view.steps[0].failed), (1, 20, 2));
        assert_eq!((view.moment.0.requests, view.moment.1), (20, Duration::from_secs(2)));
    }
}
