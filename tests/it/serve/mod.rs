//! `appliance serve` as its callers, its upstream and its operator see it.

mod bodies;
mod configuration;
mod credentials;
mod fidelity;
mod http2;
mod lifecycle;
mod refusals;
mod upstream_failures;
