//! The export of the log, the audit log and the metrics to CloudWatch Logs, so that they outlast the machine.
//!
//! It is off unless a log group is configured. Each content has a bounded queue of its own (`queue`), so that a flood of log
//! lines displaces no audit event, and a task of its own (`delivery`), which sends to a stream of its own. No request waits.

mod content;
mod delivery;
mod exporter;
mod metric_lines;
mod queue;
mod settings;

pub use content::LogContent;
pub(crate) use exporter::LogExport;
pub use queue::LogQueue;
pub use settings::LogExportSettings;
