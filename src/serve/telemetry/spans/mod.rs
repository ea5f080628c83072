//! Spans for an OpenTelemetry collector: one for each request, and one for each upstream call of the request.
//!
//! Tracing is off unless a collector is configured. It then costs a request nothing, and trace headers pass unchanged.
//! Finished spans enter a bounded queue (`exporter`), from which one task sends them; no request waits for that.

mod counts;
mod delivery;
mod exporter;
mod otlp;
mod request;
mod sampler;
mod settings;
mod span;
mod trace;

pub(crate) use exporter::{SpanExportTask, SpanExporter};
pub use settings::{Collector, SpanSettings};
pub(crate) use trace::Trace;
