//! CloudWatch's embedded metric format: once a minute a line of JSON for each target, and one for the process, from
//! which CloudWatch Logs makes metrics. Whoever ships the lines there needs no credentials of ours.
//!
//! The format: "Specification: Embedded metric format" in CloudWatch's user guide.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::warn;

use crate::clock;
use crate::serve::admin::health;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::Metrics;
use crate::serve::telemetry::metrics::explanation::EXPLANATIONS;
use crate::serve::telemetry::metrics::sheet::{Direction, Span, Totals};

/// CloudWatch keeps metrics of this resolution for two weeks.
const INTERVAL: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "MLflowAppliance";

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmfSink {
    /// Standard output.
    Stdout,
    /// The end of a file, which is opened for each writing, so it can be moved away at any time.
    File(PathBuf),
}

/// Writes what was counted since it wrote last.
pub(crate) struct Emf {
    sink: EmfSink,
    state: Mutex<State>,
}

struct State {
    /// What had been counted when it wrote last.
    before: Totals,
    is_failing: bool,
}

impl Emf {
    /// Begins with nothing counted.
    #[must_use]
    pub(crate) fn new(sink: EmfSink, metrics: &Metrics) -> Self {
        Self { sink, state: Mutex::new(State { before: metrics.totals(), is_failing: false }) }
    }

    /// Writes once a minute, for as long as it is polled. Run exactly one.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<SharedState>) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (this, shared) = (Arc::clone(&self), Arc::clone(&shared));
            // A disk may be slow. It panics only if `write` does.
            let _ = spawn_blocking(move || this.write(&shared)).await;
        }
    }

    /// Writes now. Blocks for as long as the disk does.
    pub(crate) fn write(&self, shared: &SharedState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = shared.metrics.totals();
        let text = lines(shared, &totals.since(&state.before), clock::now());
        state.before = totals;
        match append(&self.sink, &text) {
            Err(error) if !state.is_failing => {
                warn!(%error, hint = "make room, or make the place of `metrics-emf` writable", "metrics cannot be written");
                state.is_failing = true;
            }
            result => state.is_failing = result.is_err(),
        }
    }
}

fn append(sink: &EmfSink, text: &str) -> io::Result<()> {
    match sink {
        EmfSink::Stdout => io::stdout().lock().write_all(text.as_bytes()),
        EmfSink::File(path) => OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes()),
    }
}

/// One line for each target, and one for the process.
fn lines(shared: &SharedState, minute: &Totals, now: SystemTime) -> String {
    let metrics = &shared.metrics;
    let targets = shared.backends.iter().enumerate().map(|(index, backend)| {
        let mut values = about_requests(minute, Some(index));
        values.push(("Ready", "Count", u8::from(health::obstacle_of(backend, shared).is_none()).into()));
        if let Some(Some(expiry)) = backend.credentials.expiry() {
            let left = expiry.duration_since(now).unwrap_or_default();
            values.push(("CredentialsSecondsLeft", "Seconds", left.as_secs().into()));
        }
        document(Some(metrics.label(Some(index))), &values, now)
    });
    let mut own = about_requests(minute, None);
    own.extend(about_process(metrics, shared.reports.in_flight()));
    targets.chain([document(None, &own, now)]).map(|document| format!("{document}\n")).collect()
}

/// A name, a unit of CloudWatch's, and the value.
type Metric = (&'static str, &'static str, Value);

fn about_requests(minute: &Totals, target: Option<usize>) -> Vec<Metric> {
    let by_status = |wanted: Option<&str>| -> u64 {
        let fits = |status: &str| wanted.is_none_or(|wanted| wanted == status);
        minute.requests(target).filter(|([_, _, status], _)| fits(status)).map(|(_, count)| count).sum()
    };
    let sheds = minute.refusals(target).zip(EXPLANATIONS).filter(|(_, known)| known.is_shed);
    let mut values = vec![
        ("Requests", "Count", by_status(None).into()),
        ("Failed", "Count", by_status(Some("5xx")).into()),
        ("Refused", "Count", by_status(Some("4xx")).into()),
        ("Sheds", "Count", sheds.map(|((_, count), _)| count).sum::<u64>().into()),
        ("Retries", "Count", minute.retries(target).into()),
        (
            "ReceivedBytes",
            "Bytes",
            minute.bytes(target, Direction::Received).map(|(_, bytes)| bytes).sum::<u64>().into(),
        ),
        ("SentBytes", "Bytes", minute.bytes(target, Direction::Sent).map(|(_, bytes)| bytes).sum::<u64>().into()),
    ];
    for (span, part, name) in [
        (Span::Total, 0.5, "DurationP50"),
        (Span::Total, 0.99, "DurationP99"),
        (Span::Upstream, 0.99, "UpstreamP99"),
        (Span::Overhead, 0.99, "OverheadP99"),
    ] {
        // Without a request there is nothing to say, and zero would be a lie.
        if let Some(value) = minute.spent_by_all(target, span).quantile(part) {
            values.push((name, "Milliseconds", value.into()));
        }
    }
    values
}

fn about_process(metrics: &Metrics, in_flight: usize) -> [Metric; 3] {
    [
        ("InFlight", "Count", in_flight.into()),
        ("BodyMemoryBytes", "Bytes", metrics.intake.memory.used().into()),
        ("BodyDiskBytes", "Bytes", metrics.intake.disk.used().into()),
    ]
}

fn document(target: Option<&str>, values: &[Metric], now: SystemTime) -> Value {
    let names: Vec<Value> = values.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let milliseconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let dimensions = if target.is_some() { json!([["Target"]]) } else { json!([[]]) };
    let mut members: Map<String, Value> =
        values.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
    members.extend(target.map(|target| ("Target".to_owned(), target.into())));
    members.insert("Version".to_owned(), env!("CARGO_PKG_VERSION").into());
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": names});
    let about = json!({"Timestamp": u64::try_from(milliseconds).unwrap_or(0), "CloudWatchMetrics": [directive]});
    members.insert("_aws".to_owned(), about);
    Value::Object(members)
}
