//! The settings of the probes, made of those of `serve`.

use crate::api::Transport;
use crate::api::stored_secret::StoredSecret;
use crate::http::client::Endpoint;
use crate::probe::{ProbeSettings, ProbeTarget, ProbedLogs, ProbedSecret, ProbedStore};
use crate::serve::{self, ClientSecretSource, SessionSettings, TargetSettings};
use crate::token_source::TokenSource;

use super::values;

/// Probes of the requests that `serve` would send with these settings.
pub(super) fn of(settings: &serve::ServeSettings, may_write: bool) -> ProbeSettings {
    ProbeSettings {
        targets: settings.served_targets.iter().map(subject).collect(),
        issuers: Vec::new(),
        secrets: Vec::new(),
        logs: None,
        identity_endpoints: settings
            .callers
            .aws
            .iter()
            .flat_map(|aws| &aws.regions)
            .map(|(_, sts)| sts.clone())
            .collect(),
        sts_endpoint: service("STS"),
        egress: settings.egress.clone(),
        may_write,
    }
}

/// The secrets that AWS stores and `serve` reads.
pub(super) fn secrets(settings: &serve::ServeSettings) -> Vec<ProbedSecret> {
    let callers = &settings.callers;
    let probed = |option: &str, stored: &StoredSecret, least| ProbedSecret {
        option: option.to_owned(),
        stored: stored.clone(),
        least,
    };
    let tokens = callers.tokens.iter().filter_map(|tokens| match &tokens.source {
        TokenSource::Secret(stored) => Some(probed("tokens", stored, 0)),
        TokenSource::File(_) => None,
    });
    let key = match &callers.sessions {
        SessionSettings::Stored { key, .. } => Some(probed("session-key", key, serve::SESSION_KEY_LENGTH)),
        SessionSettings::Known(_) => None,
    };
    let of_issuers = callers.issuers.iter().filter_map(|issuer| match &issuer.sign_on.as_ref()?.secret {
        Some(ClientSecretSource::Stored(stored)) => {
            Some(probed(&format!("client-secret of `{}`", issuer.trusted.issuer.name), stored, 1))
        }
        _ => None,
    });
    tokens.chain(key).chain(of_issuers).collect()
}

/// The log group to which `serve` sends events.
pub(super) fn logs(settings: &serve::ServeSettings) -> Option<ProbedLogs> {
    let export = settings.log_export.as_ref()?;
    Some(ProbedLogs { group: export.group.clone(), machine: export.machine.clone() })
}

fn subject(served: &TargetSettings) -> ProbeTarget {
    ProbeTarget {
        name: served.name.clone().unwrap_or_else(|| "default".to_owned()),
        target: served.target.clone(),
        transport: Transport { dialer: served.dialer.clone(), exchange_timeout: served.client.response_timeout },
        role: served.role.clone(),
        artifacts: served.artifacts.as_ref().map(|artifacts| ProbedStore {
            store_source: artifacts.store_source.clone(),
            s3_endpoint: artifacts.s3_endpoint.clone(),
            kms_key: artifacts.kms_key.clone(),
        }),
    }
}

/// The endpoint of an AWS service by the variables that AWS's SDKs read; none if they are not set.
pub(super) fn service(name: &str) -> Option<Endpoint> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let given = variable(&format!("AWS_ENDPOINT_URL_{name}")).or_else(|| variable("AWS_ENDPOINT_URL"))?;
    values::endpoint(&given).ok()
}
