//! The document that Prometheus scrapes.

mod exposition;
mod issuers;
mod process;
mod requests;
mod targets;

pub(crate) use exposition::CONTENT_TYPE;
use exposition::Exposition;

use crate::serve::state::SharedState;

/// Renders all metrics.
pub(crate) fn render(shared: &SharedState) -> String {
    let mut exposition = Exposition::default();
    requests::render(&shared.metrics, &mut exposition);
    targets::render(shared, &mut exposition);
    issuers::render(&shared.callers.issuers, &mut exposition);
    process::render(shared, &mut exposition);
    exposition.finish()
}
