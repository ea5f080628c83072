//! The metrics of trusted issuers: their tokens and their keys.

use std::sync::atomic::Ordering;

use crate::serve::admin::prometheus::exposition::Exposition;
use crate::serve::auth::issuers::Issuers;

/// The label of tokens of which no issuer is known. No issuer can have this name.
const NO_ISSUER: &str = "(none)";

pub(super) fn render(issuers: &Issuers, exposition: &mut Exposition) {
    if !issuers.are_configured() {
        return;
    }
    let mut family = exposition.counter("appliance_jwt_verifications_total", "JWTs of callers, by issuer and result");
    for state in issuers.all() {
        for (result, count) in state.counts.all() {
            family.sample(&[("issuer", &*state.issuer().name), ("result", result)], count);
        }
    }
    for (result, count) in issuers.of_unknown().all() {
        family.sample(&[("issuer", NO_ISSUER), ("result", result)], count);
    }
    exposition
        .gauge("appliance_jwt_remembered", "JWTs whose verification is remembered")
        .sample(&[], issuers.remembered());
    let mut family = exposition.gauge("appliance_issuer_keys", "Keys of an issuer that can verify its JWTs");
    for state in issuers.all() {
        family.sample(&[("issuer", &*state.issuer().name)], state.keys.current().map_or(0, |keys| keys.len()));
    }
    let mut family = exposition.counter("appliance_issuer_fetches_total", "Fetches of an issuer's keys, by result");
    for state in issuers.all() {
        let fetches = &state.keys.fetches;
        for (result, count) in [("ok", &fetches.succeeded), ("failed", &fetches.failed)] {
            let labels = [("issuer", &*state.issuer().name), ("result", result)];
            family.sample(&labels, count.load(Ordering::Relaxed));
        }
    }
}
