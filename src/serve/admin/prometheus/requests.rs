//! The metrics of requests.
//!
//! Series without a request are left out, so that a quiet appliance has few. But once a combination of target, role and
//! route has been seen, all its usual results are there: a counter that appears with its first failure would hide that
//! failure from `rate`.

use std::iter;

use crate::serve::admin::prometheus::exposition::{Exposition, Family};
use crate::serve::telemetry::error_codes::ERROR_CODES;
use crate::serve::telemetry::metrics::{Direction, Labelled, Latency, Metrics, RouteClass, STATUSES, Snapshot};

/// The statuses that are shown for every combination that has been seen.
const USUAL: [&str; 3] = ["2xx", "4xx", "5xx"];

pub(super) fn render(metrics: &Metrics, exposition: &mut Exposition) {
    let snapshot = metrics.snapshot();
    let targets: Vec<_> = snapshot.targets().map(|target| (target, metrics.label(target))).collect();
    let family = exposition.counter(
        "appliance_requests_total",
        "Completed requests by target, role of the caller, route class and status class; `none` if the request ended before that was known",
    );
    each(&targets, family, ["role", "route", "status"], |target| requests(&snapshot, target));
    let family =
        exposition.counter("appliance_requests_ended_total", "Completed requests by the way their responses ended");
    each(&targets, family, ["outcome"], |target| snapshot.ended(target));
    durations(&targets, &snapshot, exposition);
    for (direction, name, help) in [
        (Direction::Received, "appliance_request_body_bytes_total", "Bytes of request bodies"),
        (Direction::Sent, "appliance_response_body_bytes_total", "Bytes of response bodies"),
    ] {
        let family = exposition.counter(name, help);
        each(&targets, family, ["role", "route"], |target| snapshot.bytes(target, direction).filter(is_seen));
    }
    let family = exposition.counter(
        "appliance_rejections_total",
        "Requests that the appliance rejected, by error code (`x-appliance-error`)",
    );
    each(&targets, family, ["error_code"], |target| snapshot.rejections(target).filter(is_seen));
    let family = exposition.counter(
        "appliance_sheds_total",
        "Requests that the appliance rejected because a limit or a budget was exhausted",
    );
    each(&targets, family, ["error_code"], |target| {
        snapshot.rejections(target).zip(ERROR_CODES).filter(|(_, code)| code.is_over_limit).map(|(sample, _)| sample)
    });
    let family = exposition.counter("appliance_retries_total", "Attempts after the first to send a request to MLflow");
    each(&targets, family, [], |target| iter::once(([], snapshot.retries(target))));
    let family = exposition.counter(
        "appliance_presigned_urls_total",
        "Responses with presigned URLs, by which clients read or write artifacts in S3",
    );
    each(&targets, family, ["kind"], |target| {
        let is_any = snapshot.presigned(target).any(|sample| is_seen(&sample));
        snapshot.presigned(target).filter(move |_| is_any)
    });
}

/// A target with its label.
type LabelledTarget<'a> = (Option<usize>, &'a str);

/// Adds samples of each target. `names` are the names of their labels besides the target's.
fn each<const N: usize, I: Iterator<Item = Labelled<N>>>(
    targets: &[LabelledTarget<'_>],
    mut family: Family<'_>,
    names: [&str; N],
    samples: impl Fn(Option<usize>) -> I,
) {
    for (target, label) in targets {
        for (values, number) in samples(*target) {
            let labels: Vec<_> = iter::once(("target", *label)).chain(names.into_iter().zip(values)).collect();
            family.sample(&labels, number);
        }
    }
}

fn is_seen<const N: usize>((_, number): &Labelled<N>) -> bool {
    *number > 0
}

/// Returns the requests of every combination that has been seen, with all its usual results.
fn requests(snapshot: &Snapshot, target: Option<usize>) -> impl Iterator<Item = Labelled<3>> {
    let all: Vec<_> = snapshot.requests(target).collect();
    let shown = |results: &[Labelled<3>]| {
        let is_any = results.iter().any(is_seen);
        let is_shown = |one: &&Labelled<3>| is_seen(one) || is_any && USUAL.contains(&one.0[2]);
        results.iter().filter(is_shown).copied().collect::<Vec<_>>()
    };
    all.chunks(STATUSES.len()).flat_map(shown).collect::<Vec<_>>().into_iter()
}

fn durations(targets: &[LabelledTarget<'_>], snapshot: &Snapshot, exposition: &mut Exposition) {
    for (latency, name, help) in [
        (
            Latency::Total,
            "appliance_request_duration_seconds",
            "Time from the head of the request to the last byte of the response",
        ),
        (
            Latency::Upstream,
            "appliance_upstream_duration_seconds",
            "Time from sending a request to MLflow, or to S3 for an artifact, to the head of the response; last attempt only",
        ),
        (
            Latency::Overhead,
            "appliance_overhead_duration_seconds",
            "Time that the appliance adds to the upstream's until the head of the response, without waiting for the client's body",
        ),
    ] {
        let mut family = exposition.histogram(name, help);
        for (target, label) in targets {
            for route in RouteClass::ALL {
                let distribution = snapshot.latency(*target, latency, route);
                if distribution.count() > 0 {
                    family.distribution(&[("target", label), ("route", route.as_str())], &distribution);
                }
            }
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

    fn body_limits() -> BodyLimits {
        BodyLimits {
            size_limit: 1,
            memory_limit: 1,
            arriving: Budget::new(BudgetKind::Arriving, 1),
            gathering: Budget::new(BudgetKind::Gathering, 1),
            memory: Budget::new(BudgetKind::Memory, 1),
            disk: Budget::new(BudgetKind::Disk, 1),
            directory: Path::new("/").into(),
            timing: Timing { idle_timeout: Duration::ZERO, total: Duration::ZERO },
            streams_large: false,
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
                let error_code = Some(code.name);
                counters.count(&FinishedRequest { target, error_code, outcome, ..FinishedRequest::plain() });
            }
        }
    }

    fn caller(role: Role) -> Caller {
        let (name, targets) = ("ada".to_owned(), Targets::All);
        Caller { name, role, targets, auth_method: AuthMethod::Token, issuer: None, expires: None }
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
            let metrics = Metrics::new(names, body_limits());
            assert!(series(&metrics) < 10 * (targets + 1), "a quiet appliance has few series: {}", series(&metrics));
            everything(&metrics, targets);
            let kinds = ROLES.len() * RouteClass::ALL.len();
            let sheds = ERROR_CODES.iter().filter(|code| code.is_over_limit).count();
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
        let metrics = Metrics::new([None].into_iter(), body_limits());
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
        let metrics = Metrics::new([None, Some("default"), Some("a")].into_iter(), body_limits());
        let labels: Vec<_> = [Some(0), Some(1), Some(2), None].map(|target| metrics.label(target)).into();
        assert_eq!(labels, ["(default)", "default", "a", "(none)"]);
    }
}
