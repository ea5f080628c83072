//! What is counted of requests, and how it is shown: to Prometheus, to CloudWatch, and to people.
//!
//! Workers count on sheets of their own (`sheet`), and whoever asks adds them up. What lives elsewhere, such as the
//! expiry of credentials, is looked at when somebody asks (`families`).

mod emf;
mod explanation;
mod exposition;
mod failures;
mod families;
mod histogram;
mod history;
mod process;
mod route;
mod sheet;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use actix_web::rt;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use emf::Emf;
pub use emf::EmfSink;
pub(crate) use explanation::{CUT_OFF, EXPLANATIONS, UPSTREAM_DENIED, UPSTREAM_ERROR, index as explanation_index};
pub(crate) use exposition::CONTENT_TYPE;
pub(crate) use failures::Failure;
pub(crate) use families::render;
pub(crate) use history::{STEP, STEPS, Step, Summary, View};
pub(crate) use route::RouteClass;
pub(crate) use sheet::{Observation, Sheet, Span, Totals};

use crate::clock;
use crate::http::body::BodyLimits;
use crate::serve::state::SharedState;
use history::{History, TICK};

/// What the process counts.
pub(crate) struct Metrics {
    /// What the targets are called in labels, in their order.
    labels: Vec<String>,
    sheets: Mutex<Vec<Arc<Sheet>>>,
    history: History,
    /// When the process began to serve.
    pub(crate) started: SystemTime,
    /// The budgets of request bodies.
    pub(crate) intake: BodyLimits,
}

/// Starts what goes on in the background: keeping the history, and writing for CloudWatch if somebody wants that.
pub(crate) fn start(shared: &Arc<SharedState>, emf: Option<&Arc<Emf>>) -> impl Iterator<Item = JoinHandle<()>> {
    let keeper = Arc::clone(shared);
    let history = rt::spawn(async move { keeper.metrics.keep_history().await });
    [Some(history), emf.map(|emf| rt::spawn(Arc::clone(emf).run(Arc::clone(shared))))].into_iter().flatten()
}

/// The label of what belongs to no target. No target can be called so.
const NO_TARGET: &str = "(none)";

impl Metrics {
    /// Nothing counted yet, for targets of these names; the one without a name is called `default`.
    #[must_use]
    pub(crate) fn new<'a>(names: impl Iterator<Item = Option<&'a str>>, intake: BodyLimits) -> Self {
        let names: Vec<_> = names.collect();
        // Another target may have been given the name that stands for none.
        let unnamed = if names.contains(&Some("default")) { "(default)" } else { "default" };
        Self {
            labels: names.into_iter().map(|name| name.unwrap_or(unnamed).to_owned()).collect(),
            sheets: Mutex::default(),
            history: History::new(Instant::now()),
            started: clock::now(),
            intake,
        }
    }

    /// A sheet for one more worker, who alone may count on it. What stands there stays when the worker ends.
    #[must_use]
    pub(crate) fn sheet(&self) -> Arc<Sheet> {
        let sheet = Arc::new(Sheet::new(self.labels.len()));
        self.sheets.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&sheet));
        sheet
    }

    /// All sheets at this moment.
    fn sheets(&self) -> Vec<Arc<Sheet>> {
        self.sheets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all workers together have counted.
    #[must_use]
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::new(self.labels.len());
        self.sheets().iter().for_each(|sheet| totals.add(sheet));
        totals
    }

    /// What a target is called in labels.
    #[must_use]
    pub(crate) fn label(&self, target: Option<usize>) -> &str {
        target.and_then(|target| self.labels.get(target)).map_or(NO_TARGET, String::as_str)
    }

    /// The last hour.
    #[must_use]
    pub(crate) fn view(&self, totals: &Totals) -> View {
        self.history.view(Instant::now(), &Summary::of(totals))
    }

    /// What failed lately, the newest first.
    #[must_use]
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let sheets = self.sheets();
        failures::newest(sheets.iter().flat_map(|sheet| sheet.recent().all().cloned().collect::<Vec<_>>()).collect())
    }

    /// Keeps the history, for as long as it is polled. Run exactly one.
    async fn keep_history(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.history.tick(Instant::now(), Summary::of(&self.totals()));
        }
    }
}
