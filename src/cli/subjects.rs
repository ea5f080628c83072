//! What the settings of `serve` mean to the probes.

use crate::api::Transport;
use crate::http::client::Endpoint;
use crate::probe::{ProbeSettings, ProbeTarget, ProbedStore};
use crate::serve::{self, TargetSettings};

use super::values;

/// The probes of what `serve` would do with these settings.
pub(super) fn of(settings: &serve::ServeSettings, may_write: bool) -> ProbeSettings {
    ProbeSettings {
        targets: settings.backends.iter().map(subject).collect(),
        sts_endpoint: service("STS"),
        egress: settings.egress.clone(),
        may_write,
    }
}

fn subject(backend: &TargetSettings) -> ProbeTarget {
    ProbeTarget {
        name: backend.name.clone().unwrap_or_else(|| "default".to_owned()),
        target: backend.target.clone(),
        transport: Transport { dialer: backend.dialer.clone(), exchange_timeout: backend.client.response_timeout },
        role: backend.role.clone(),
        artifacts: backend.artifacts.as_ref().map(|artifacts| ProbedStore {
            place: artifacts.place.clone(),
            s3_endpoint: artifacts.s3_endpoint.clone(),
            kms_key: artifacts.kms_key.clone(),
        }),
    }
}

/// Another endpoint for one of AWS's services, by the variables that its SDKs read.
pub(super) fn service(name: &str) -> Option<Endpoint> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let given = variable(&format!("AWS_ENDPOINT_URL_{name}")).or_else(|| variable("AWS_ENDPOINT_URL"))?;
    values::endpoint(&given).ok()
}
