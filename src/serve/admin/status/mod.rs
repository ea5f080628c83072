//! The status page, and the document that it fetches every other second.

mod callers;
mod configuration;
mod numbers;
mod page;
mod targets;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::http::tls::server::ServerTls;
use crate::serve::admin::health;
use crate::serve::state::SharedState;
use crate::serve::telemetry::error_codes::{self, ERROR_CODES};
use crate::serve::telemetry::metrics::{HistoryView, STEP, STEPS, Step, TimeShares};
use numbers::{milliseconds, rounded, seconds};
pub(crate) use page::page;

/// Returns the document that the page shows. Its size is bounded under any load.
pub(crate) fn document(shared: &SharedState) -> Value {
    let (metrics, now) = (&shared.metrics, clock::now());
    let snapshot = metrics.snapshot();
    let certificate = shared.tls.as_ref().and_then(ServerTls::validity);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": seconds(now),
        "started": seconds(metrics.started),
        "draining": shared.draining.load(Ordering::Relaxed),
        "obstacle": health::obstacle(shared),
        "certificate": certificate.map(|(begin, end)| json!({
            "expires": seconds(end),
            "ends_soon": clock::ends_soon(begin, end, now),
        })),
        "in_flight": shared.reports.in_flight(),
        "bodies": {
            "memory": {"used": metrics.body_limits.memory.used(), "limit": metrics.body_limits.memory.limit()},
            "disk": {"used": metrics.body_limits.disk.used(), "limit": metrics.body_limits.disk.limit()},
        },
        "configuration": configuration::document(shared, now),
        "targets": targets::document(shared, &snapshot),
        "hour": hour(&metrics.view(&snapshot)),
        "callers": callers::document(shared, now),
        "failures": failures(shared),
    })
}

fn hour(view: &HistoryView) -> Value {
    let (moment, lasted) = &view.moment;
    let column = |value: &dyn Fn(&Step) -> Value| -> Vec<Value> { view.steps.iter().map(value).collect() };
    let time = |share: fn(&TimeShares) -> u64| column(&|step| milliseconds(share(&step.time)));
    json!({
        "step": STEP.as_secs(),
        "steps": STEPS,
        "running": view.running.as_secs_f64(),
        "requests": column(&|step| step.requests.into()),
        "failed": column(&|step| step.failed.into()),
        "rejected": column(&|step| step.rejected.into()),
        "answered": column(&|step| step.answered.into()),
        "median_ms": column(&|step| rounded(step.median)),
        "high_ms": column(&|step| rounded(step.high)),
        "time": {
            "appliance_ms": time(|time| time.appliance),
            "mlflow_ms": time(|time| time.mlflow),
            "s3_ms": time(|time| time.s3),
            "bodies_ms": time(|time| time.bodies),
        },
        "moment": {
            "seconds": lasted.max(&Duration::from_millis(1)).as_secs_f64(),
            "requests": moment.requests,
            "failed": moment.failed,
            "rejected": moment.rejected,
            "median_ms": rounded(moment.answered.quantile(0.5)),
            "high_ms": rounded(moment.answered.quantile(0.99)),
        },
    })
}

fn failures(shared: &SharedState) -> Vec<Value> {
    let all = shared.metrics.failures().into_iter().map(|group| {
        let last = group.last;
        json!({
            "count": group.count,
            "first": seconds(group.first),
            "last": seconds(last.time),
            "error_code": last.error_code,
            "status": last.status,
            "action": last.action,
            "caller": last.caller,
            "role": last.role,
            "client": last.client.map(|address| address.to_string()),
            "target": last.target.map(|target| shared.metrics.label(Some(target))),
            "request_id": last.request_id,
            "method": last.method,
            "path": last.path,
            "cause": last.cause,
            "explanation": ERROR_CODES[error_codes::index(last.error_code)].text,
            "is_ours": last.concerns_operator,
        })
    });
    all.collect()
}
