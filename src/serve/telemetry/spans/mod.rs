//! Spans of requests, for a collector of OpenTelemetry's: one for each request, and one for each that it made upstream.
//!
//! Off unless somebody names a collector; a request then costs nothing more, and trace headers pass as they are. What is
//! recorded goes into a bounded queue (`export`), from which one task sends it; nobody waits for that.

mod delivery;
mod export;
mod otlp;
mod request;
mod span;
mod trace;

pub use export::{Collector, SpanSettings};
pub(crate) use export::{Export, Exporter};
pub(crate) use trace::Trace;
