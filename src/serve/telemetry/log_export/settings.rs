//! The settings of the export to CloudWatch Logs.

use std::sync::Arc;

use crate::api::log_events::LogGroup;
use crate::http::client::Dialer;
use crate::serve::telemetry::log_export::content::LogContent;
use crate::serve::telemetry::log_export::queue::LogQueue;

/// The settings of the export.
#[derive(Clone)]
pub struct LogExportSettings {
    /// The group that receives the events.
    pub group: LogGroup,
    /// Opens connections to CloudWatch Logs.
    pub dialer: Dialer,
    /// The name of this machine in names of streams.
    pub machine: String,
    /// The queues of the contents that are sent.
    pub queues: Vec<Arc<LogQueue>>,
}

impl LogExportSettings {
    /// The queue of a content, if it is sent.
    #[must_use]
    pub fn queue(&self, content: LogContent) -> Option<Arc<LogQueue>> {
        self.queues.iter().find(|queue| queue.content() == content).cloned()
    }
}
