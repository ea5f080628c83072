//! The contents that can be sent to CloudWatch Logs.

use crate::labelled::labelled;

labelled! {
    /// The contents that can be sent. Each has a stream of its own.
    pub enum LogContent {
        /// The lines that the process writes to standard error, the access log among them.
        Log = "log",
        /// The events of the audit log.
        Audit = "audit",
        /// The figures of each minute, as CloudWatch's embedded metric format has them.
        Metrics = "metrics",
    }
}

impl LogContent {
    /// The maximum number of bytes that may wait. An audit event and a log line of a request have about 500 bytes each, so
    /// some 20,000 requests fit: two minutes of 150 requests a second, or half an hour of ten.
    pub(crate) fn queue_limit(self) -> usize {
        match self {
            Self::Log | Self::Audit => 10 << 20,
            Self::Metrics => 256 << 10,
        }
    }
}
