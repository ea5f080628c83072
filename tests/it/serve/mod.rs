//! `appliance serve` as its callers, its upstream and its operator see it.

mod artifacts;
mod bodies;
mod callers;
mod configuration;
mod credentials;
mod fidelity;
mod http2;
mod leaks;
mod lifecycle;
mod oracle;
mod policy;
mod refusals;
mod targets;
mod upstream_failures;
