//! The task that takes finished spans from the queue and sends them to the collector.
//!
//! It sends batches, because a request with many spans costs a collector little more than one with a single span. It
//! retries a failed batch where the specification of OTLP/HTTP allows that. Meanwhile the queue fills; no request waits.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::error_chain;
use crate::http::client::{ServiceClient, ServiceClientError, ServiceLimits};
use crate::http::fields::Fields;
use crate::serve::telemetry::spans::counts::{DropReason, SpanCounts};
use crate::serve::telemetry::spans::otlp;
use crate::serve::telemetry::spans::settings::Collector;
use crate::serve::telemetry::spans::span::FinishedSpans;

/// The maximum number of spans in a batch, as in OpenTelemetry's SDKs.
const BATCH: usize = 512;
/// The maximum time that a span waits for others.
const INTERVAL: Duration = Duration::from_secs(2);
/// The longest time for one request to the collector.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of the collector's response. Bytes.
const RESPONSE_LIMIT: usize = 64 << 10;
/// The maximum number of attempts to send a batch.
const ATTEMPTS: u32 = 3;
/// The first and the longest wait between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(20));

/// The reason why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Client(#[from] ServiceClientError),
    #[error("the collector responded with {0}")]
    Rejected(StatusCode),
}

impl DeliveryError {
    /// True if a retry may succeed. "OTLP/HTTP Response" in the specification lists the statuses.
    fn may_retry(&self) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Rejected(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Client(_) => {
                "start a collector there, or correct `otlp-endpoint`; the port of OTLP over HTTP is usually 4318"
            }
            Self::Rejected(status) => match status.as_u16() {
                401 | 403 => {
                    "send to a collector on this machine, and configure the credentials of the tracing backend there"
                }
                404 | 405 => "correct the path in `otlp-endpoint`; the appliance adds `/v1/traces`",
                415 | 400 => "configure the collector to accept OTLP over HTTP with JSON",
                _ => "check the collector's own log",
            },
        }
    }
}

/// Sends batches, and remembers whether that fails.
pub(crate) struct SpanDelivery {
    collector: Collector,
    resource: Vec<(String, String)>,
    counts: Arc<SpanCounts>,
    stop: CancellationToken,
    is_failing: bool,
}

impl SpanDelivery {
    pub(crate) fn new(
        collector: Collector,
        resource: Vec<(String, String)>,
        counts: Arc<SpanCounts>,
        stop: CancellationToken,
    ) -> Self {
        Self { collector, resource, counts, stop, is_failing: false }
    }

    /// Sends spans until `stop` is cancelled, and then the rest.
    pub(crate) async fn run(mut self, mut queue: UnboundedReceiver<FinishedSpans>) {
        let limits = ServiceLimits {
            exchange_timeout: EXCHANGE_TIMEOUT,
            // Shorter than the interval, so that no batch meets a connection that the collector is closing.
            keep_alive: INTERVAL / 2,
            body_limit: RESPONSE_LIMIT,
        };
        let client = ServiceClient::new(self.collector.dialer.clone(), limits);
        loop {
            // Without a sender, no more spans will come.
            let is_last = self.stop.is_cancelled() || queue.is_closed();
            let (batch, spans) = self.gather(&mut queue).await;
            if spans > 0 {
                self.deliver(&client, &batch, spans).await;
            } else if is_last {
                return;
            }
        }
    }

    /// Returns the next batch and the number of its spans. It is empty once the queue is empty at the end.
    async fn gather(&self, queue: &mut UnboundedReceiver<FinishedSpans>) -> (Vec<FinishedSpans>, usize) {
        let (mut batch, mut spans) = (Vec::new(), 0);
        let end = Instant::now() + INTERVAL;
        while spans < BATCH {
            let next = tokio::select! {
                next = queue.recv() => next,
                () = sleep_until(end) => None,
                () = self.stop.cancelled() => queue.try_recv().ok(),
            };
            let Some(finished) = next else { break };
            spans += finished.spans.len();
            batch.push(finished);
        }
        (batch, spans)
    }

    async fn deliver(&mut self, client: &ServiceClient, batch: &[FinishedSpans], spans: usize) {
        let document = Bytes::from(otlp::document(&self.resource, batch));
        let mut attempt = 1;
        let mut backoff = BACKOFF;
        let mut is_last = self.stop.is_cancelled();
        let sent = loop {
            match self.send(client, document.clone()).await {
                Err(error) if error.may_retry() && attempt < ATTEMPTS && !is_last => {
                    self.warn_once(&error);
                    attempt += 1;
                    tokio::select! {
                        () = sleep(backoff.wait()) => {}
                        // The next attempt is the last.
                        () = self.stop.cancelled() => is_last = true,
                    }
                }
                sent => break sent,
            }
        };
        self.counts.leave(spans);
        match sent {
            Ok(rejected) => {
                let rejected = usize::try_from(rejected).map_or(spans, |rejected| rejected.min(spans));
                self.counts.add_dropped(DropReason::Rejected, rejected);
                self.counts.add_exported(spans - rejected);
                if self.is_failing {
                    info!("the collector accepts spans again");
                    self.is_failing = false;
                }
            }
            Err(error) => {
                self.warn_once(&error);
                self.counts.add_dropped(DropReason::Undelivered, spans);
            }
        }
    }

    /// Sends a batch, and returns the number of its spans that the collector rejected.
    async fn send(&self, client: &ServiceClient, document: Bytes) -> Result<u64, DeliveryError> {
        let mut headers = Fields::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = client.exchange(Method::POST, &self.collector.target, headers, document).await?;
        let status = response.status;
        if status.is_success() { Ok(rejected(&response.body)) } else { Err(DeliveryError::Rejected(status)) }
    }

    /// Logs the first failure of an outage. The metrics count the spans that are dropped.
    fn warn_once(&mut self, error: &DeliveryError) {
        if !self.is_failing {
            let (endpoint, error, hint) =
                (self.collector.dialer.endpoint().url(), error_chain::joined(error), error.hint());
            warn!(endpoint, error, hint, "cannot send spans; requests are not affected");
            self.is_failing = true;
        }
    }
}

/// Returns `partialSuccess.rejectedSpans` of a response. It has 64 bits and so is text in JSON, but some collectors write a
/// number.
fn rejected(response: &[u8]) -> u64 {
    let response: Value = serde_json::from_slice(response).unwrap_or_default();
    let count = &response["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_spans_of_a_response_are_counted() {
        for (answer, expected) in [
            ("{}", 0),
            ("", 0),
            ("{\"partialSuccess\":{}}", 0),
            ("{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}", 3),
            ("{\"partialSuccess\":{\"rejectedSpans\":4}}", 4),
            ("{\"partialSuccess\":{\"rejectedSpans\":\"-1\"}}", 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), expected, "{answer}");
        }
    }
}
