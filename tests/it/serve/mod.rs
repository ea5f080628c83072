//! `appliance serve` as its callers, its upstream and its operator see it.

mod artifacts;
mod audit;
mod bodies;
mod callers;
mod configuration;
mod credentials;
mod faults;
mod fidelity;
mod hostile;
mod http2;
mod leaks;
mod lifecycle;
mod metrics;
mod monitoring;
mod oidc;
mod on_behalf;
mod oracle;
mod policy;
mod refusals;
mod sessions;
mod status;
mod targets;
mod tls;
mod tracing;
mod unsigned;
mod upstream_failures;
