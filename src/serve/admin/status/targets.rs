//! The targets in the document of the status page: their state, and their traffic since the start.

use serde_json::{Value, json};

use super::numbers::{milliseconds, rounded, seconds};
use crate::mlflow::arn::Mode;
use crate::serve::admin::health;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::{Direction, RouteClass, Snapshot};
use crate::serve::upstream::served_target::ServedTarget;
use crate::serve::upstream::settings::ArtifactAccess;

pub(super) fn document(shared: &SharedState, snapshot: &Snapshot) -> Vec<Value> {
    let all = shared.served_targets.iter().enumerate();
    all.map(|(index, served)| {
        let mut document = state(shared, index, served);
        document["traffic"] = traffic(index, snapshot);
        document
    })
    .collect()
}

fn state(shared: &SharedState, index: usize, served: &ServedTarget) -> Value {
    let path = served.name.as_ref().map_or_else(|| "/".to_owned(), |name| format!("/t/{name}/"));
    let store = served.store.load().as_ref().map(|store| format!("s3://{}/{}", store.bucket(), store.prefix()));
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
        "is_s3_given_up": served.s3_breaker.is_open(),
        "credentials": match served.credentials.expiry() {
            None => json!({"held": false, "failure": served.credentials.failure()}),
            Some(expiry) => json!({
                "held": true,
                "expires": expiry.map(seconds),
                "failure": served.credentials.failure(),
            }),
        },
        "artifacts": match served.artifacts.as_ref().map(|artifacts| artifacts.access) {
            None => "not served",
            Some(ArtifactAccess::Proxied) => "through the appliance",
            Some(ArtifactAccess::Multipart) => "through the appliance, large ones by presigned URL",
            Some(ArtifactAccess::PresignedOnly) => "by presigned URL only",
        },
        "artifact_store": served.artifacts.is_some().then_some(store).flatten(),
    })
}

fn traffic(index: usize, snapshot: &Snapshot) -> Value {
    let target = Some(index);
    let requests = snapshot.request_count(target);
    let (answered, time) = snapshot.answered(target);
    let artifacts = |direction| -> u64 {
        let of_artifacts =
            |([_, route], bytes): ([&str; 2], u64)| (route == RouteClass::Artifacts.as_str()).then_some(bytes);
        snapshot.bytes(target, direction).filter_map(of_artifacts).sum()
    };
    let mut presigned = snapshot.presigned(target).map(|(_, count)| count);
    json!({
        "requests": requests,
        "rejected": snapshot.rejected(target),
        "failed": snapshot.failed(target),
        "answered": answered.count(),
        "median_ms": rounded(answered.quantile(0.5)),
        "high_ms": rounded(answered.quantile(0.99)),
        "time": {
            "appliance_ms": milliseconds(time.appliance),
            "mlflow_ms": milliseconds(time.mlflow),
            "s3_ms": milliseconds(time.s3),
            "bodies_ms": milliseconds(time.bodies),
        },
        "artifact_bytes": {"received": artifacts(Direction::Received), "sent": artifacts(Direction::Sent)},
        "presigned": {"downloads": presigned.next(), "uploads": presigned.next()},
    })
}
