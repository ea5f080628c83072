//! The metrics of requests.
//!
//! Series without a request are left out, so that a quiet appliance has few. But once a combination of target, role and
//! route has been seen, all its usual results are there: a counter that appears with its first failure would hide that
//! failure from `rate`.

use crate::serve::admin::prometheus::exposition::Exposition;
use crate::serve::telemetry::error_codes::ERROR_CODES;
use crate::serve::telemetry::metrics::{Direction, Latency, Metrics, RouteClass, STATUSES, Snapshot};

/// The statuses that are shown for every combination that has been seen.
const USUAL: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The name of a family of metrics, and its help.
type Described = (&'static str, &'static str);

pub(super) fn render(metrics: &Metrics, exposition: &mut Exposition) {
    let snapshot = metrics.snapshot();
    requests(metrics, &snapshot, exposition);
    let (name, help) = ("appliance_requests_ended_total", "Completed requests by the way their responses ended");
    let mut family = exposition.counter(name, help);
    for target in snapshot.targets() {
        for ([outcome], count) in snapshot.ended(target) {
            family.sample(&[("target", metrics.label(target)), ("outcome", outcome)], count);
        }
    }
    durations(metrics, &snapshot, exposition);
    bytes(metrics, &snapshot, exposition);
    refusals(metrics, &snapshot, exposition);
    let (name, help) = ("appliance_retries_total", "Attempts after the first to send a request to MLflow");
    let mut family = exposition.counter(name, help);
    for target in snapshot.targets() {
        family.sample(&[("target", metrics.label(target))], snapshot.retries(target));
    }
    let (name, help) = (
        "appliance_presigned_urls_total",
        "Responses with presigned URLs, by which clients read or write artifacts in S3",
    );
    let mut family = exposition.counter(name, help);
    for target in snapshot.targets() {
        let kinds: Vec<_> = snapshot.presigned(target).collect();
        if kinds.iter().any(|(_, count)| *count > 0) {
            for ([kind], count) in kinds {
                family.sample(&[("target", metrics.label(target)), ("kind", kind)], count);
            }
        }
    }
}

fn requests(metrics: &Metrics, snapshot: &Snapshot, exposition: &mut Exposition) {
    const REQUESTS: Described = (
        "appliance_requests_total",
        "Completed requests by target, role of the caller, route class and status class; `none` if the request ended before that was known",
    );
    let mut family = exposition.counter(REQUESTS.0, REQUESTS.1);
    for target in snapshot.targets() {
        let label = metrics.label(target);
        let all: Vec<_> = snapshot.requests(target).collect();
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

fn durations(metrics: &Metrics, snapshot: &Snapshot, exposition: &mut Exposition) {
    const TOTAL: Described =
        ("appliance_request_duration_seconds", "Time from the head of the request to the last byte of the response");
    const UPSTREAM: Described = (
        "appliance_upstream_duration_seconds",
        "Time from sending a request to MLflow, or to S3 for an artifact, to the head of the response; last attempt only",
    );
    const OVERHEAD: Described = (
        "appliance_overhead_duration_seconds",
        "Time that the appliance adds to the upstream's until the head of the response, without waiting for the client's body",
    );
    for (latency, (name, help)) in
        [(Latency::Total, TOTAL), (Latency::Upstream, UPSTREAM), (Latency::Overhead, OVERHEAD)]
    {
        let mut family = exposition.histogram(name, help);
        for target in snapshot.targets() {
            for route in RouteClass::ALL {
                let distribution = snapshot.latency(target, latency, route);
                if distribution.count() > 0 {
                    let labels = [("target", metrics.label(target)), ("route", route.as_str())];
                    family.distribution(&labels, &distribution);
                }
            }
        }
    }
}

fn bytes(metrics: &Metrics, snapshot: &Snapshot, exposition: &mut Exposition) {
    const RECEIVED: Described = ("appliance_request_body_bytes_total", "Bytes of request bodies");
    const SENT: Described = ("appliance_response_body_bytes_total", "Bytes of response bodies");
    for (direction, (name, help)) in [(Direction::Received, RECEIVED), (Direction::Sent, SENT)] {
        let mut family = exposition.counter(name, help);
        for target in snapshot.targets() {
            for ([role, route], count) in snapshot.bytes(target, direction).filter(|(_, count)| *count > 0) {
                family.sample(&[("target", metrics.label(target)), ("role", role), ("route", route)], count);
            }
        }
    }
}

fn refusals(metrics: &Metrics, snapshot: &Snapshot, exposition: &mut Exposition) {
    const REFUSALS: Described =
        ("appliance_refusals_total", "Requests that the appliance rejected, by error code (`x-appliance-error`)");
    const SHEDS: Described =
        ("appliance_sheds_total", "Requests that the appliance rejected because a limit or a budget was exhausted");
    let mut family = exposition.counter(REFUSALS.0, REFUSALS.1);
    for target in snapshot.targets() {
        for ([kind], count) in snapshot.refusals(target).filter(|(_, count)| *count > 0) {
            family.sample(&[("target", metrics.label(target)), ("kind", kind)], count);
        }
    }
    let mut family = exposition.counter(SHEDS.0, SHEDS.1);
    for target in snapshot.targets() {
        for (([kind], count), _) in snapshot.refusals(target).zip(ERROR_CODES).filter(|(_, code)| code.is_shed) {
            family.sample(&[("target", metrics.label(target)), ("kind", kind)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use actix_web::http::StatusCode;

    use super::*;
    use crate::access::caller::{AuthMethod, Caller, Role, Targets};
    use crate::http::body::{BodyLimits, Budget, BudgetKind, Timing};
    use crate::serve::telemetry::finished::{FinishedRequest, RequestOutcome};
    use crate::serve::telemetry::metrics::{BUCKETS, PRESIGNED_KINDS, ROLES};

    fn intake() -> BodyLimits {
        BodyLimits {
            size_limit: 1,
            memory_limit: 1,
            arriving: Budget::new(BudgetKind::Arriving, 1),
            gathering: Budget::new(BudgetKind::Gathering, 1),
            memory: Budget::new(BudgetKind::Memory, 1),
            disk: Budget::new(BudgetKind::Disk, 1),
            directory: Path::new("/").into(),
            timing: Timing { idle_timeout: Duration::ZERO, total: Duration::ZERO },
            passes_large: false,
        }
    }

    /// Counts one request of every kind.
    fn everything(metrics: &Metrics, targets: usize) {
        const ACTIONS: [&str; RouteClass::ALL.len() - 1] = [
            "experiments:get",
            "runs:get",
            "metrics:get-history",
            "artifacts:get",
            "logged-models:get",
            "registered-models:get",
            "traces:get",
            "datasets:get",
            "scorers:get",
            "gateway:get",
            "ui:get",
            "webhooks:get",
            "health:get",
            "unclassified",
        ];
        let counters = metrics.add_worker();
        let callers: Vec<_> = Role::ALL.into_iter().map(caller).collect();
        for target in (0..targets).map(Some).chain([None]) {
            for caller in callers.iter().map(Some).chain([None]) {
                for (class, action) in RouteClass::ALL.into_iter().zip(ACTIONS.map(Some).into_iter().chain([None])) {
                    assert_eq!(RouteClass::of(action), class);
                    for status in [Some(101), Some(200), Some(302), Some(404), Some(503), None] {
                        counters.count(&FinishedRequest {
                            target,
                            caller,
                            action,
                            status: status.and_then(|status| StatusCode::from_u16(status).ok()),
                            retries: 1,
                            received: 1,
                            sent: 1,
                            total: Duration::from_millis(1),
                            upstream: Some(Duration::from_millis(1)),
                            overhead: Some(Duration::from_millis(1)),
                            presigned: [1, 1],
                            ..FinishedRequest::plain()
                        });
                    }
                }
            }
            for code in ERROR_CODES {
                let outcome = RequestOutcome::CallerGone;
                let error_kind = Some(code.kind);
                counters.count(&FinishedRequest { target, outcome, error_kind, ..FinishedRequest::plain() });
            }
        }
    }

    fn caller(role: Role) -> Caller {
        let (name, targets) = ("ada".to_owned(), Targets::All);
        Caller { name, role, targets, means: AuthMethod::Token, issuer: None, expires: None }
    }

    fn series(metrics: &Metrics) -> usize {
        let mut exposition = Exposition::default();
        render(metrics, &mut exposition);
        exposition.finish().lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn the_number_of_series_is_bounded_by_the_number_of_targets() {
        for targets in [1, 3] {
            let names = ["a", "b", "c"].into_iter().take(targets).map(Some);
            let metrics = Metrics::new(names, intake());
            assert!(series(&metrics) < 10 * (targets + 1), "a quiet appliance has few series: {}", series(&metrics));
            everything(&metrics, targets);
            let kinds = ROLES.len() * RouteClass::ALL.len();
            let sheds = ERROR_CODES.iter().filter(|code| code.is_shed).count();
            let distributions = 3 * RouteClass::ALL.len() * (BUCKETS + 2);
            let each = kinds * STATUSES.len()
                + 2 * kinds
                + RequestOutcome::ALL.len()
                + ERROR_CODES.len()
                + sheds
                + 1
                + PRESIGNED_KINDS.len()
                + distributions;
            assert_eq!(series(&metrics), (targets + 1) * each);
            assert!(each < 1600, "{each}: README gives this bound");
            // A second worker that counts the same adds no series.
            everything(&metrics, targets);
            assert_eq!(series(&metrics), (targets + 1) * each);
        }
    }

    #[test]
    fn a_combination_that_was_seen_has_all_usual_results() {
        let metrics = Metrics::new([None].into_iter(), intake());
        let reader = caller(Role::Read);
        metrics.add_worker().count(&FinishedRequest {
            target: Some(0),
            caller: Some(&reader),
            action: Some("runs:get"),
            status: Some(StatusCode::OK),
            sent: 7,
            ..FinishedRequest::plain()
        });
        let mut exposition = Exposition::default();
        render(&metrics, &mut exposition);
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
    fn labels_of_targets_differ() {
        let metrics = Metrics::new([None, Some("default"), Some("a")].into_iter(), intake());
        let labels: Vec<_> = [Some(0), Some(1), Some(2), None].map(|target| metrics.label(target)).into();
        assert_eq!(labels, ["(default)", "default", "a", "(none)"]);
    }
}
