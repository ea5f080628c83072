//! The metrics of targets: readiness, credentials, circuit breaker and clock skew. With them, the connections to their endpoints.

use std::sync::Arc;

use crate::aws::outcomes::Outcomes;
use crate::serve::admin::health;
use crate::serve::admin::prometheus::exposition::{Exposition, seconds};
use crate::serve::state::SharedState;

pub(super) fn render(shared: &SharedState, exposition: &mut Exposition) {
    let metrics = &shared.metrics;
    let served_targets =
        || shared.served_targets.iter().enumerate().map(|(index, served)| (metrics.label(Some(index)), served));
    let mut family = exposition
        .gauge("appliance_ready", "1 if the appliance can sign requests to the target and knows its artifact store");
    for (target, served) in served_targets() {
        family.sample(&[("target", target)], u8::from(health::obstacle_of(served, shared).is_none()));
    }
    let mut family = exposition.gauge(
        "appliance_credentials_expiry_timestamp_seconds",
        "Time at which the AWS credentials that sign for the target expire; absent without credentials or if they do not expire",
    );
    for (target, served) in served_targets() {
        if let Some(Some(expiry)) = served.credentials.expiry() {
            family.sample(&[("target", target)], seconds(expiry));
        }
    }
    let mut family = exposition.counter(
        "appliance_credential_requests_total",
        "Attempts to obtain AWS credentials, from the default chain or with AssumeRole; targets that share credentials count under the first of them",
    );
    let mut seen: Vec<&Arc<Outcomes>> = Vec::new();
    for (target, served) in served_targets() {
        let outcomes = served.credentials.outcomes();
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
        "1 while the circuit breaker rejects requests to the target because it could not be reached",
    );
    for (target, served) in served_targets() {
        family.sample(&[("target", target)], u8::from(served.breaker.is_open()));
    }
    let mut family = exposition.gauge(
        "appliance_clock_skew_seconds",
        "Seconds by which AWS's clock is ahead of this machine's, as a rejected signature has shown",
    );
    for (target, served) in served_targets() {
        family.sample(&[("target", target)], served.skew.seconds());
    }
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
