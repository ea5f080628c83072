//! Lines with the metrics of each minute, in CloudWatch's embedded metric format: CloudWatch makes metrics of them, on which
//! alarms can be set. AWS bills each metric, so they are few, and their only dimension is the log group.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clock;
use crate::serve::telemetry::log_export::queue::LogQueue;
use crate::serve::telemetry::metrics::{RequestTotals, Step};

/// The period of a line. CloudWatch keeps one value a minute.
const PERIOD: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "MlflowAppliance";

/// Writes the lines.
pub(crate) struct MetricLines {
    pub(super) queue: Arc<LogQueue>,
    /// The queues whose losses are among the metrics.
    pub(super) queues: Vec<Arc<LogQueue>>,
    pub(super) group: String,
    pub(super) machine: String,
    pub(super) totals: Box<dyn Fn() -> RequestTotals>,
    /// The sums at the last line: of the requests, and of the lost events.
    pub(super) last: Cell<(RequestTotals, u64)>,
}

impl MetricLines {
    /// Writes a line each minute, for as long as it is polled.
    pub(crate) async fn keep_writing(&self) {
        loop {
            sleep(PERIOD).await;
            self.write();
        }
    }

    /// Writes a line with what has happened since the last one.
    pub(crate) fn write(&self) {
        let now = (self.totals)();
        let lost = self.queues.iter().flat_map(|queue| queue.lost()).map(|(_, count)| count).sum::<u64>();
        let (before, lost_before) = self.last.replace((now, lost));
        let line = document(&now.since(&before).into(), lost - lost_before, (&self.group, &self.machine));
        self.queue.record(line.to_string().as_bytes());
    }
}

/// The line of a period.
fn document(step: &Step, lost: u64, (group, machine): (&str, &str)) -> Value {
    let mut metrics = vec![
        ("Requests", "Count", json!(step.requests)),
        ("FailedRequests", "Count", json!(step.failed)),
        ("RejectedRequests", "Count", json!(step.rejected)),
        ("LostLogEvents", "Count", json!(lost)),
    ];
    // Without an answered request there is no duration, and zero would be a wrong one.
    let durations = [("MedianDuration", step.median), ("HighDuration", step.high)];
    metrics.extend(durations.into_iter().filter_map(|(name, value)| Some((name, "Milliseconds", json!(value?)))));
    let described: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let time = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut line = json!({
        "_aws": {
            "Timestamp": u64::try_from(time).unwrap_or_default(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["LogGroup"]], "Metrics": described}],
        },
        "LogGroup": group,
        "machine": machine,
    });
    for (name, _, value) in metrics {
        line[name] = value;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_described_metric_has_a_value_and_the_dimension_has_one() {
        let idle = document(&Step::default(), 0, ("g", "i-1"));
        let busy = Step { requests: 7, failed: 1, median: Some(12.5), high: Some(80.0), ..Step::default() };
        let busy = document(&busy, 3, ("g", "i-1"));
        for (line, count) in [(&idle, 4), (&busy, 6)] {
            let about = &line["_aws"]["CloudWatchMetrics"][0];
            let metrics = about["Metrics"].as_array().expect("a list");
            assert_eq!(metrics.len(), count, "{line}");
            assert!(metrics.iter().all(|metric| line[metric["Name"].as_str().expect("a name")].is_number()), "{line}");
            assert_eq!((&about["Dimensions"], &line["LogGroup"]), (&json!([["LogGroup"]]), &json!("g")));
        }
        assert_eq!(
            (&busy["Requests"], &busy["LostLogEvents"], &busy["HighDuration"]),
            (&json!(7), &json!(3), &json!(80.0))
        );
    }
}
