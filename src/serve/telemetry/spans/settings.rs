//! The settings of tracing.

use crate::http::client::Dialer;

/// The collector that receives spans.
#[derive(Clone)]
pub struct Collector {
    /// Opens connections to the collector.
    pub dialer: Dialer,
    /// The path and query of the collector's OTLP/HTTP endpoint for traces.
    pub target: String,
}

/// The settings of tracing.
#[derive(Clone)]
pub struct SpanSettings {
    /// The collector.
    pub collector: Collector,
    /// The share of requests that are recorded, from 0 to 1. It applies to requests that are not part of a client's trace.
    pub sampling_ratio: f64,
    /// The attributes of the resource, which describe this appliance.
    pub resource: Vec<(String, String)>,
}
