//! The status page, and the document that it fetches every other second.
//!
//! The page is one file that loads nothing from elsewhere. Its content security policy names its script and its style by
//! their hashes, so that injected code cannot run.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::http::tls::server::ServerTls;
use crate::mlflow::arn::Mode;
use crate::serve::admin::health;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::{
    ERROR_CODES, HistoryView, Latency, STEP, STEPS, Snapshot, Step, error_code_index,
};
use crate::serve::upstream::served_target::ServedTarget;
use crate::serve::upstream::settings::ArtifactAccess;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

struct StatusPage {
    text: String,
    policy: String,
}

static PAGE: LazyLock<StatusPage> = LazyLock::new(|| {
    let text = include_str!("page.html").replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let hash = |piece: &str| STANDARD.encode(Sha256::digest(piece));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE)
    );
    StatusPage { text, policy }
});

/// Returns the page.
#[must_use]
pub(crate) fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE.policy.as_str()))
        .body(PAGE.text.as_str())
}

/// Returns the document that the page shows. Its size is bounded under any load.
#[must_use]
pub(crate) fn document(shared: &SharedState) -> Value {
    let metrics = &shared.metrics;
    let snapshot = metrics.snapshot();
    let targets: Vec<Value> = shared
        .served_targets
        .iter()
        .enumerate()
        .map(|(index, served)| target(shared, index, served, &snapshot))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": seconds(clock::now()),
        "started": seconds(metrics.started),
        "draining": shared.draining.load(Ordering::Relaxed),
        "obstacle": health::obstacle(shared),
        "certificate_expires": shared.tls.as_ref().and_then(ServerTls::end).map(seconds),
        "in_flight": shared.reports.in_flight(),
        "bodies": {
            "memory": {"used": metrics.intake.memory.used(), "limit": metrics.intake.memory.limit()},
            "disk": {"used": metrics.intake.disk.used(), "limit": metrics.intake.disk.limit()},
        },
        "targets": targets,
        "hour": hour(&metrics.view(&snapshot)),
        "failures": failures(shared),
    })
}

fn target(shared: &SharedState, index: usize, served: &ServedTarget, snapshot: &Snapshot) -> Value {
    let requests: u64 = snapshot.requests(Some(index)).map(|(_, count)| count).sum();
    let failed: u64 =
        snapshot.requests(Some(index)).filter(|([_, _, status], _)| *status == "5xx").map(|(_, count)| count).sum();
    let total = snapshot.latency_of_all_routes(Some(index), Latency::Total);
    let path = served.name.as_ref().map_or_else(|| "/".to_owned(), |name| format!("/t/{name}/"));
    json!({
        "name": shared.metrics.label(Some(index)),
        "path": path,
        "is_default": served.is_default,
        "mode": match served.target.arn().mode() {
            Mode::TrackingServer => "tracking server",
            Mode::App => "serverless app",
        },
        "arn": served.target.arn().as_str(),
        "region": served.target.arn().region(),
        "obstacle": health::obstacle_of(served, shared),
        "is_given_up": served.breaker.is_open(),
        "credentials": match served.credentials.expiry() {
            None => json!({"held": false}),
            Some(expiry) => json!({"held": true, "expires": expiry.map(seconds)}),
        },
        "artifacts": match served.artifacts.as_ref().map(|artifacts| artifacts.access) {
            None => "not served",
            Some(ArtifactAccess::Proxied) => "through the appliance",
            Some(ArtifactAccess::Multipart) => "through the appliance, large ones by presigned URL",
            Some(ArtifactAccess::PresignedOnly) => "by presigned URL only",
        },
        "requests": requests,
        "failed": failed,
        "median_ms": rounded(total.quantile(0.5)),
        "high_ms": rounded(total.quantile(0.99)),
    })
}

fn hour(view: &HistoryView) -> Value {
    let (moment, lasted) = &view.moment;
    let column = |value: &dyn Fn(&Step) -> Value| -> Vec<Value> { view.steps.iter().map(value).collect() };
    json!({
        "step": STEP.as_secs(),
        "steps": STEPS,
        "running": view.running.as_secs_f64(),
        "requests": column(&|step| step.requests.into()),
        "failed": column(&|step| step.failed.into()),
        "refused": column(&|step| step.refused.into()),
        "median_ms": column(&|step| rounded(step.median)),
        "high_ms": column(&|step| rounded(step.high)),
        "moment": {
            "seconds": lasted.max(&Duration::from_millis(1)).as_secs_f64(),
            "requests": moment.requests,
            "failed": moment.failed,
            "refused": moment.refused,
            "median_ms": rounded(moment.total.quantile(0.5)),
            "high_ms": rounded(moment.total.quantile(0.99)),
        },
    })
}

fn failures(shared: &SharedState) -> Vec<Value> {
    let all = shared.metrics.failures().into_iter().map(|failure| {
        json!({
            "time": seconds(failure.time),
            "request_id": failure.request_id,
            "method": failure.method,
            "path": failure.path,
            "target": failure.target.map(|target| shared.metrics.label(Some(target))),
            "status": failure.status,
            "kind": failure.kind,
            "cause": failure.cause,
            "explanation": ERROR_CODES[error_code_index(failure.kind)].text,
            "is_ours": failure.is_ours,
        })
    });
    all.collect()
}

/// Returns milliseconds as a number with two decimals.
fn rounded(milliseconds: Option<f64>) -> Value {
    milliseconds.map_or(Value::Null, |value| ((value * 100.0).round() / 100.0).into())
}

/// Returns the seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}
