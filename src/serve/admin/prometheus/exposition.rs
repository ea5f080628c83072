//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::serve::telemetry::metrics::{BOUNDS, Distribution};

/// The value of `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// A document to which families of metrics are added.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

/// A family of metrics, to which samples are added.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family of numbers that only grow.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// Begins a family of numbers that go up and down.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Begins a family of distributions.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.text, name }
    }

    /// Returns the document.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a number.
    pub(crate) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Adds a distribution of durations, which become seconds.
    pub(crate) fn distribution(&mut self, labels: &[Label<'_>], distribution: &Distribution) {
        let mut upto = 0;
        let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds).chain(["+Inf"]);
        for (bound, inside) in bounds.zip(distribution.buckets) {
            upto += inside;
            self.line("_bucket", labels, Some(bound), upto);
        }
        self.line("_sum", labels, None, distribution.sum as f64 / 1e6);
        self.line("_count", labels, None, upto);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], bound: Option<&str>, value: impl Display) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let pairs: Vec<String> = all.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let braced = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{}{suffix}{braced} {value}", self.name);
    }
}

/// Returns the seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::telemetry::metrics::bucket;

    #[test]
    fn a_family_has_help_type_and_escaped_samples() {
        let mut exposition = Exposition::default();
        exposition.counter("a_total", "What\nit \\ is").sample(&[("x", "a\"b\\c\nd"), ("y", "")], 7);
        exposition.gauge("b", "Other").sample(&[], 0.5);
        assert_eq!(
            exposition.finish(),
            "# HELP a_total What\\nit \\\\ is\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 7\n\
             # HELP b Other\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn a_distribution_is_cumulative_and_ends_with_its_sum_and_count() {
        let mut distribution = Distribution::default();
        for micros in [50, 200, 200, 500_000_000] {
            distribution.buckets[bucket(micros)] += 1;
            distribution.sum += micros;
        }
        let mut exposition = Exposition::default();
        exposition.histogram("t_seconds", "Time").distribution(&[("target", "a")], &distribution);
        let text = exposition.finish();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        assert_eq!(
            line("t_seconds_bucket{target=\"a\",le=\"0.0001\"}"),
            "t_seconds_bucket{target=\"a\",le=\"0.0001\"} 1"
        );
        assert_eq!(line("t_seconds_bucket{target=\"a\",le=\"120\"}"), "t_seconds_bucket{target=\"a\",le=\"120\"} 3");
        assert_eq!(line("t_seconds_bucket{target=\"a\",le=\"+Inf\"}"), "t_seconds_bucket{target=\"a\",le=\"+Inf\"} 4");
        assert_eq!(line("t_seconds_sum"), "t_seconds_sum{target=\"a\"} 500.00045");
        assert_eq!(line("t_seconds_count"), "t_seconds_count{target=\"a\"} 4");
    }
}
