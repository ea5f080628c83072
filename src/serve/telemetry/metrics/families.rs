//! All that Prometheus is told, in one document.
//!
//! What nobody has done is left out, so that a quiet appliance has few series; but where a caller has been seen, all
//! its results are there from then on, since a counter that appears with its first failure would hide that failure
//! from `rate`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::aws::outcomes::Outcomes;
use crate::serve::admin::health;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::Metrics;
use crate::serve::telemetry::metrics::explanation::EXPLANATIONS;
use crate::serve::telemetry::metrics::exposition::Exposition;
use crate::serve::telemetry::metrics::process::Process;
use crate::serve::telemetry::metrics::route::RouteClass;
use crate::serve::telemetry::metrics::sheet::{Direction, STATUSES, Span, Totals};

/// The results that a caller who has been seen is shown with.
const USUAL: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The document.
#[must_use]
pub(crate) fn render(shared: &SharedState) -> String {
    let mut exposition = Exposition::default();
    about_requests(&shared.metrics, &shared.metrics.totals(), &mut exposition);
    about_targets(shared, &mut exposition);
    about_bodies(&shared.metrics, &mut exposition);
    about_process(shared, &mut exposition);
    exposition.finish()
}

/// A family of numbers, each of which has a name and an explanation.
type Named = (&'static str, &'static str);

fn about_requests(metrics: &Metrics, totals: &Totals, exposition: &mut Exposition) {
    requests(metrics, totals, exposition);
    let (name, help) = ("appliance_requests_ended_total", "Requests by how their answers ended");
    let mut family = exposition.counter(name, help);
    for target in totals.targets() {
        for ([outcome], count) in totals.ended(target) {
            family.sample(&[("target", metrics.label(target)), ("outcome", outcome)], count);
        }
    }
    durations(metrics, totals, exposition);
    bytes(metrics, totals, exposition);
    refusals(metrics, totals, exposition);
    let (name, help) = ("appliance_retries_total", "Attempts after the first to send a request to MLflow");
    let mut family = exposition.counter(name, help);
    for target in totals.targets() {
        family.sample(&[("target", metrics.label(target))], totals.retries(target));
    }
}

fn requests(metrics: &Metrics, totals: &Totals, exposition: &mut Exposition) {
    const REQUESTS: Named = (
        "appliance_requests_total",
        "Requests that have ended, by target, the caller's role, kind of route and class of status; `none` where it did not come to one",
    );
    let mut family = exposition.counter(REQUESTS.0, REQUESTS.1);
    for target in totals.targets() {
        let label = metrics.label(target);
        let all: Vec<_> = totals.requests(target).collect();
        for results in all.chunks(STATUSES.len()) {
            let is_seen = results.iter().any(|(_, count)| *count > 0);
            for ([role, route, status], count) in results {
                if *count > 0 || is_seen && USUAL.contains(status) {
                    let labels = [("target", label), ("role", *role), ("route", *route), ("status", *status)];
                    family.sample(&labels, count);
                }
            }
        }
    }
}

fn durations(metrics: &Metrics, totals: &Totals, exposition: &mut Exposition) {
    const TOTAL: Named =
        ("appliance_request_duration_seconds", "From the head of the request to the last byte of the answer");
    const UPSTREAM: Named = (
        "appliance_upstream_duration_seconds",
        "From sending a request to MLflow, or to S3 for an artifact, until the head of its answer; last attempt only",
    );
    const OVERHEAD: Named = (
        "appliance_overhead_duration_seconds",
        "What the appliance adds to the upstream's time until the head of the answer, without waiting for the caller's body",
    );
    for (span, (name, help)) in [(Span::Total, TOTAL), (Span::Upstream, UPSTREAM), (Span::Overhead, OVERHEAD)] {
        let mut family = exposition.histogram(name, help);
        for target in totals.targets() {
            for route in RouteClass::ALL {
                let distribution = totals.spent(target, span, route);
                if distribution.count() > 0 {
                    let labels = [("target", metrics.label(target)), ("route", route.as_str())];
                    family.distribution(&labels, &distribution);
                }
            }
        }
    }
}

fn bytes(metrics: &Metrics, totals: &Totals, exposition: &mut Exposition) {
    const RECEIVED: Named = ("appliance_request_body_bytes_total", "Bytes of the bodies of requests");
    const SENT: Named = ("appliance_response_body_bytes_total", "Bytes of the bodies of answers");
    for (direction, (name, help)) in [(Direction::Received, RECEIVED), (Direction::Sent, SENT)] {
        let mut family = exposition.counter(name, help);
        for target in totals.targets() {
            for ([role, route], count) in totals.bytes(target, direction).filter(|(_, count)| *count > 0) {
                family.sample(&[("target", metrics.label(target)), ("role", role), ("route", route)], count);
            }
        }
    }
}

fn refusals(metrics: &Metrics, totals: &Totals, exposition: &mut Exposition) {
    const REFUSALS: Named = ("appliance_refusals_total", "Answers of the appliance itself, by `x-appliance-error`");
    const SHEDS: Named = ("appliance_sheds_total", "Those of the refusals that say there is too much to do");
    let mut family = exposition.counter(REFUSALS.0, REFUSALS.1);
    for target in totals.targets() {
        for ([kind], count) in totals.refusals(target).filter(|(_, count)| *count > 0) {
            family.sample(&[("target", metrics.label(target)), ("kind", kind)], count);
        }
    }
    let mut family = exposition.counter(SHEDS.0, SHEDS.1);
    for target in totals.targets() {
        for (([kind], count), _) in totals.refusals(target).zip(EXPLANATIONS).filter(|(_, known)| known.is_shed) {
            family.sample(&[("target", metrics.label(target)), ("kind", kind)], count);
        }
    }
}

fn about_targets(shared: &SharedState, exposition: &mut Exposition) {
    let metrics = &shared.metrics;
    let backends = || shared.backends.iter().enumerate().map(|(index, backend)| (metrics.label(Some(index)), backend));
    let mut family =
        exposition.gauge("appliance_ready", "1 if requests to the target will be signed and its store is known");
    for (target, backend) in backends() {
        family.sample(&[("target", target)], u8::from(health::obstacle_of(backend, shared).is_none()));
    }
    let mut family = exposition.gauge(
        "appliance_credentials_expiry_timestamp_seconds",
        "When the AWS credentials that sign for the target expire; missing if there are none, or if they do not",
    );
    for (target, backend) in backends() {
        if let Some(Some(expiry)) = backend.credentials.expiry() {
            family.sample(&[("target", target)], seconds(expiry));
        }
    }
    let mut family = exposition.counter(
        "appliance_credential_requests_total",
        "Attempts to obtain AWS credentials, from the default chain or with AssumeRole; of targets that share them, under the first",
    );
    let mut seen: Vec<&Arc<Outcomes>> = Vec::new();
    for (target, backend) in backends() {
        let outcomes = backend.credentials.outcomes();
        if seen.iter().any(|known| Arc::ptr_eq(known, outcomes)) {
            continue;
        }
        seen.push(outcomes);
        for (source, outcome, count) in outcomes.all().filter(|(.., count)| *count > 0) {
            family.sample(&[("target", target), ("source", source), ("outcome", outcome.as_str())], count);
        }
    }
    let mut family = exposition.gauge(
        "appliance_upstream_circuit_open",
        "1 while requests to the target are refused, because it could not be reached",
    );
    for (target, backend) in backends() {
        family.sample(&[("target", target)], u8::from(backend.breaker.is_open()));
    }
    let mut family = exposition.gauge(
        "appliance_clock_skew_seconds",
        "By how much AWS's clock is ahead of this machine's, once a signature was refused for its time",
    );
    for (target, backend) in backends() {
        family.sample(&[("target", target)], backend.skew.seconds());
    }
    let mut family = exposition
        .gauge("appliance_upstream_connections_open", "Connections to AWS that are open for the target, in use or not");
    for (target, backend) in backends() {
        family.sample(&[("target", target)], backend.dialer.connections().open());
    }
    let mut family = exposition.counter(
        "appliance_upstream_connections_total",
        "Connections to AWS that were opened for the target, or could not be",
    );
    for (target, backend) in backends() {
        let connections = backend.dialer.connections();
        family.sample(&[("target", target), ("result", "opened")], connections.opened());
        family.sample(&[("target", target), ("result", "failed")], connections.failed());
    }
}

fn about_bodies(metrics: &Metrics, exposition: &mut Exposition) {
    let budgets = [("memory", &metrics.intake.memory), ("disk", &metrics.intake.disk)];
    let mut family = exposition.gauge("appliance_body_bytes", "Bytes of request bodies that are held now, by where");
    for (place, budget) in budgets {
        family.sample(&[("place", place)], budget.used());
    }
    let mut family = exposition.gauge("appliance_body_budget_bytes", "Bytes of request bodies that may be held");
    for (place, budget) in budgets {
        family.sample(&[("place", place)], budget.limit());
    }
}

fn about_process(shared: &SharedState, exposition: &mut Exposition) {
    exposition
        .gauge("appliance_build_info", "1, with the version")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    exposition
        .gauge("appliance_requests_in_flight", "Requests whose answer is not complete")
        .sample(&[], shared.ledger.in_flight());
    exposition
        .gauge("appliance_draining", "1 while the appliance finishes its last requests")
        .sample(&[], u8::from(shared.draining.load(Ordering::Relaxed)));
    if let Some(end) = shared.tls.as_ref().and_then(crate::http::tls::server::ServerTls::end) {
        exposition
            .gauge("appliance_certificate_expiry_timestamp_seconds", "When the listener's certificate ceases to hold")
            .sample(&[], seconds(end));
    }
    if let Some(spans) = &shared.ledger.spans {
        let (name, help) = ("appliance_spans_exported_total", "Spans that the collector has taken");
        exposition.counter(name, help).sample(&[], spans.exported());
        let (name, help) = ("appliance_spans_dropped_total", "Spans that it has not and will not, by why");
        let mut family = exposition.counter(name, help);
        for (reason, count) in spans.lost() {
            family.sample(&[("reason", reason)], count);
        }
    }
    let process = Process::look();
    exposition
        .gauge("process_start_time_seconds", "When the process began to serve")
        .sample(&[], seconds(shared.metrics.started));
    if let Some(value) = process.cpu_seconds {
        exposition.counter("process_cpu_seconds_total", "Processor time, of user and system").sample(&[], value);
    }
    if let Some(value) = process.resident_bytes {
        exposition.gauge("process_resident_memory_bytes", "Memory that is held").sample(&[], value);
    }
    if let Some(value) = process.open_files {
        exposition.gauge("process_open_fds", "Open files and sockets").sample(&[], value);
    }
    if let Some(value) = process.open_files_limit {
        exposition.gauge("process_max_fds", "As many there may be").sample(&[], value);
    }
}

/// Since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::access::caller::Role;
    use crate::http::body::{Budget, Intake, Resource, Timing};
    use crate::serve::telemetry::metrics::sheet::{OUTCOMES, Observation, ROLES};

    fn intake() -> Intake {
        Intake {
            size_limit: 1,
            memory_limit: 1,
            arriving: Budget::new(Resource::Arriving, 1),
            gathering: Budget::new(Resource::Gathering, 1),
            memory: Budget::new(Resource::Memory, 1),
            disk: Budget::new(Resource::Disk, 1),
            directory: Path::new("/").into(),
            timing: Timing { silence: Duration::ZERO, total: Duration::ZERO },
            passes_large: false,
        }
    }

    /// Everything that can be counted, once.
    fn everything(metrics: &Metrics, targets: usize) {
        let sheet = metrics.sheet();
        for target in (0..targets).map(Some).chain([None]) {
            for role in [Some(Role::Read), Some(Role::Write), Some(Role::Admin), None] {
                for route in RouteClass::ALL {
                    for status in [Some(101), Some(200), Some(302), Some(404), Some(503), None] {
                        sheet.count(&Observation {
                            target,
                            role,
                            route,
                            status,
                            outcome: 0,
                            refusal: None,
                            retries: 1,
                            received: 1,
                            sent: 1,
                            total: Duration::from_millis(1),
                            upstream: Some(Duration::from_millis(1)),
                            overhead: Some(Duration::from_millis(1)),
                        });
                    }
                }
            }
            for known in EXPLANATIONS {
                sheet.count(&Observation {
                    target,
                    role: None,
                    route: RouteClass::None,
                    status: None,
                    outcome: 1,
                    refusal: Some(known.kind),
                    retries: 0,
                    received: 0,
                    sent: 0,
                    total: Duration::ZERO,
                    upstream: None,
                    overhead: None,
                });
            }
        }
    }

    fn series(metrics: &Metrics) -> usize {
        let mut exposition = Exposition::default();
        about_requests(metrics, &metrics.totals(), &mut exposition);
        exposition.finish().lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn the_number_of_series_is_bounded_by_the_number_of_targets() {
        for targets in [1, 3] {
            let names = ["a", "b", "c"].into_iter().take(targets).map(Some);
            let metrics = Metrics::new(names, intake());
            assert!(series(&metrics) < 10 * (targets + 1), "a quiet appliance says little: {}", series(&metrics));
            everything(&metrics, targets);
            let kinds = ROLES.len() * RouteClass::ALL.len();
            let sheds = EXPLANATIONS.iter().filter(|known| known.is_shed).count();
            let distributions = 3 * RouteClass::ALL.len() * (crate::serve::telemetry::metrics::histogram::BUCKETS + 2);
            let each =
                kinds * STATUSES.len() + 2 * kinds + OUTCOMES.len() + EXPLANATIONS.len() + sheds + 1 + distributions;
            assert_eq!(series(&metrics), (targets + 1) * each);
            assert!(each < 1600, "{each}: what README says");
            // Another worker, and everything once more: no series more.
            everything(&metrics, targets);
            assert_eq!(series(&metrics), (targets + 1) * each);
        }
    }

    #[test]
    fn a_caller_who_was_seen_has_all_results() {
        let metrics = Metrics::new([None].into_iter(), intake());
        metrics.sheet().count(&Observation {
            target: Some(0),
            role: Some(Role::Read),
            route: RouteClass::Runs,
            status: Some(200),
            outcome: 0,
            refusal: None,
            retries: 0,
            received: 0,
            sent: 7,
            total: Duration::ZERO,
            upstream: None,
            overhead: None,
        });
        let mut exposition = Exposition::default();
        about_requests(&metrics, &metrics.totals(), &mut exposition);
        let text = exposition.finish();
        for (status, count) in [("2xx", 1), ("4xx", 0), ("5xx", 0)] {
            let line = format!(
                "appliance_requests_total{{target=\"default\",role=\"read\",route=\"runs\",status=\"{status}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert_eq!(text.matches("appliance_requests_total{").count(), 3);
        assert!(
            text.contains("appliance_response_body_bytes_total{target=\"default\",role=\"read\",route=\"runs\"} 7\n")
        );
    }

    #[test]
    fn labels_of_targets_are_never_the_same() {
        let metrics = Metrics::new([None, Some("default"), Some("a")].into_iter(), intake());
        let labels: Vec<_> = [Some(0), Some(1), Some(2), None].map(|target| metrics.label(target)).into();
        assert_eq!(labels, ["(default)", "default", "a", "(none)"]);
    }
}
