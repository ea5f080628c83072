//! The contents that can be sent to CloudWatch Logs.

/// The contents that can be sent. Each has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogContent {
    /// The lines that the process writes to standard error, the access log among them.
    Log,
    /// The events of the audit log.
    Audit,
    /// The figures of each minute, as CloudWatch's embedded metric format has them.
    Metrics,
}

impl LogContent {
    /// All contents with their words in options, in names of streams and in metrics.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Log, "log"), (Self::Audit, "audit"), (Self::Metrics, "metrics")];

    /// The word of a content.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The maximum number of bytes that may wait. An audit event and a log line of a request have about 500 bytes each, so
    /// some 20,000 requests fit: two minutes of 150 requests a second, or half an hour of ten.
    pub(crate) fn queue_limit(self) -> usize {
        match self {
            Self::Log | Self::Audit => 10 << 20,
            Self::Metrics => 256 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_their_indices() {
        for (index, (content, word)) in LogContent::ALL.into_iter().enumerate() {
            assert_eq!((content as usize, content.word()), (index, word));
        }
    }
}
