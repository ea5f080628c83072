//! The metrics of targets: readiness, credentials, circuit breaker and clock skew. With them, the connections to their endpoints.

use std::fmt::Display;
use std::sync::Arc;

use crate::aws::outcomes::Outcomes;
use crate::serve::admin::health;
use crate::serve::admin::prometheus::exposition::{Exposition, Family, seconds};
use crate::serve::state::SharedState;
use crate::serve::upstream::served_target::ServedTarget;

pub(super) fn render(shared: &SharedState, exposition: &mut Exposition) {
    let family = exposition
        .gauge("appliance_ready", "1 if the appliance can sign requests to the target and knows its artifact store");
    each(shared, family, |served| Some(u8::from(health::obstacle_of(served, shared).is_none())));
    let family = exposition.gauge(
        "appliance_credentials_expiry_timestamp_seconds",
        "Time at which the AWS credentials that sign for the target expire; absent without credentials or if they do not expire",
    );
    each(shared, family, |served| served.credentials.expiry().flatten().map(seconds));
    let mut family = exposition.counter(
        "appliance_credential_requests_total",
        "Attempts to obtain AWS credentials, from the default chain or with AssumeRole; targets that share credentials count under the first of them",
    );
    let mut seen: Vec<&Arc<Outcomes>> = Vec::new();
    for (index, served) in shared.served_targets.iter().enumerate() {
        let target = shared.metrics.label(Some(index));
        let outcomes = served.credentials.outcomes();
        if seen.iter().any(|known| Arc::ptr_eq(known, outcomes)) {
            continue;
        }
        seen.push(outcomes);
        for (source, outcome, count) in outcomes.all().filter(|(.., count)| *count > 0) {
            family.sample(&[("target", target), ("source", source), ("outcome", outcome.as_str())], count);
        }
    }
    let family = exposition.gauge(
        "appliance_upstream_circuit_open",
        "1 while the circuit breaker rejects requests to the target because it could not be reached",
    );
    each(shared, family, |served| Some(u8::from(served.breaker.is_open())));
    let family = exposition.gauge(
        "appliance_clock_skew_seconds",
        "Seconds by which AWS's clock is ahead of this machine's, as a rejected signature has shown",
    );
    each(shared, family, |served| Some(served.credentials.skew().seconds()));
    // Targets share the connections to their endpoint, so there are no figures by target. All dialers belong to one family.
    let endpoints = shared.served_targets.first().map(|served| served.dialer.counts().all()).unwrap_or_default();
    let mut family = exposition.gauge(
        "appliance_upstream_connections_open",
        "Connections to the endpoint that are open, in use or idle; targets with the same endpoint share them",
    );
    for (endpoint, connections) in &endpoints {
        family.sample(&[("endpoint", endpoint)], connections.open());
    }
    let mut family = exposition.counter(
        "appliance_upstream_connections_total",
        "Connections to the endpoint that the appliance opened, or failed to open",
    );
    for (endpoint, connections) in &endpoints {
        family.sample(&[("endpoint", endpoint), ("result", "opened")], connections.opened());
        family.sample(&[("endpoint", endpoint), ("result", "failed")], connections.failed());
    }
}

/// Adds a number for each target that has one.
fn each<T: Display>(shared: &SharedState, mut family: Family<'_>, value: impl Fn(&ServedTarget) -> Option<T>) {
    for (index, served) in shared.served_targets.iter().enumerate() {
        if let Some(value) = value(served) {
            family.sample(&[("target", shared.metrics.label(Some(index)))], value);
        }
    }
}
