//! The task that takes finished spans out of their queue and sends them to the collector.
//!
//! In batches: a request of many spans costs a collector little more than one of a single span. A batch that was not
//! taken is tried again where the specification of OTLP/HTTP allows it; meanwhile the queue fills, and nobody waits.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::error_chain;
use crate::http::client::{ServiceClient, ServiceClientError, ServiceLimits};
use crate::http::fields::Fields;
use crate::serve::telemetry::spans::export::{Collector, Counts, Loss};
use crate::serve::telemetry::spans::otlp;
use crate::serve::telemetry::spans::span::Finished;

/// Spans of one request to the collector; as OpenTelemetry's SDKs have it.
const BATCH: usize = 512;
/// How long a span waits for others.
const INTERVAL: Duration = Duration::from_secs(2);
/// The longest time for one request to the collector.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// What it answers is a few words.
const ANSWER_SIZE: usize = 64 << 10;
/// Attempts to send a batch, and what passes between them.
const ATTEMPTS: u32 = 3;
const WAITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Client(#[from] ServiceClientError),
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl DeliveryError {
    /// Whether another attempt may succeed: by "OTLP/HTTP Response", of answers, only after these.
    fn may_pass(&self) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Client(_) => {
                "start a collector there, or correct `otlp-endpoint`: the port of OTLP over HTTP is usually 4318"
            }
            Self::Refused(status) => match status.as_u16() {
                401 | 403 => "send to a collector on this machine, and let it sign in where the spans are kept",
                404 | 405 => "correct the path in `otlp-endpoint`; collectors expect `/v1/traces`, which is added",
                415 | 400 => "let the collector take OTLP over HTTP with JSON",
                _ => "look into the collector's own log",
            },
        }
    }
}

/// Sends batches, and remembers how that goes.
pub(crate) struct Delivery {
    collector: Collector,
    resource: Vec<(String, String)>,
    counts: Arc<Counts>,
    is_failing: bool,
    is_stopping: bool,
}

impl Delivery {
    pub(crate) fn new(collector: Collector, resource: Vec<(String, String)>, counts: Arc<Counts>) -> Self {
        Self { collector, resource, counts, is_failing: false, is_stopping: false }
    }

    /// Sends until it is told to stop, and then what is left.
    pub(crate) async fn run(mut self, mut queue: UnboundedReceiver<Finished>, stop: Arc<Notify>) {
        let limits = ServiceLimits {
            exchange_timeout: EXCHANGE_TIMEOUT,
            // Shorter than the interval, so that a connection is never one that the collector is just closing.
            keep_alive: INTERVAL / 2,
            body_limit: ANSWER_SIZE,
        };
        let client = ServiceClient::new(self.collector.dialer.clone(), limits);
        loop {
            let (batch, spans) = self.gather(&mut queue, &stop).await;
            if spans > 0 {
                self.deliver(&client, &batch, spans, &stop).await;
            } else if self.is_stopping {
                return;
            }
        }
    }

    /// The next batch. Empty once there is nothing left.
    async fn gather(&mut self, queue: &mut UnboundedReceiver<Finished>, stop: &Notify) -> (Vec<Finished>, usize) {
        let (mut batch, mut spans) = (Vec::new(), 0);
        let end = Instant::now() + INTERVAL;
        while spans < BATCH {
            let next = if self.is_stopping {
                queue.try_recv().ok()
            } else {
                tokio::select! {
                    next = queue.recv() => {
                        // Nobody is left who could put one in.
                        self.is_stopping |= next.is_none();
                        next
                    }
                    () = sleep_until(end) => None,
                    () = stop.notified() => {
                        self.is_stopping = true;
                        continue;
                    }
                }
            };
            let Some(finished) = next else { break };
            spans += finished.spans.len();
            batch.push(finished);
        }
        (batch, spans)
    }

    async fn deliver(&mut self, client: &ServiceClient, batch: &[Finished], spans: usize, stop: &Notify) {
        let document = Bytes::from(otlp::document(&self.resource, batch));
        let mut attempt = 1;
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let sent = loop {
            match self.send(client, document.clone()).await {
                Err(error) if error.may_pass() && attempt < ATTEMPTS && !self.is_stopping => {
                    self.complain(&error);
                    attempt += 1;
                    tokio::select! {
                        () = sleep(backoff.wait()) => {}
                        // Once more at once, and then never.
                        () = stop.notified() => self.is_stopping = true,
                    }
                }
                sent => break sent,
            }
        };
        self.counts.take(spans);
        match sent {
            Ok(rejected) => {
                let rejected = usize::try_from(rejected).map_or(spans, |rejected| rejected.min(spans));
                self.counts.lose(Loss::Rejected, rejected);
                self.counts.export(spans - rejected);
                if self.is_failing {
                    info!("spans are taken again");
                    self.is_failing = false;
                }
            }
            Err(error) => {
                self.complain(&error);
                self.counts.lose(Loss::Undelivered, spans);
            }
        }
    }

    /// Sends a batch, and returns how many of its spans were not taken.
    async fn send(&self, client: &ServiceClient, document: Bytes) -> Result<u64, DeliveryError> {
        let mut headers = Fields::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = client.exchange(Method::POST, &self.collector.target, headers, document).await?;
        let status = response.status;
        if status.is_success() { Ok(rejected(&response.body)) } else { Err(DeliveryError::Refused(status)) }
    }

    /// Says once that it does not work; how much is lost is counted.
    fn complain(&mut self, error: &DeliveryError) {
        if !self.is_failing {
            let (endpoint, error, hint) =
                (self.collector.dialer.endpoint().url(), error_chain::joined(error), error.hint());
            warn!(endpoint, error, hint, "spans cannot be sent; requests are not affected");
            self.is_failing = true;
        }
    }
}

/// `partialSuccess.rejectedSpans` of an answer: 64 bits, so text in JSON; some write a number.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_collectors_are_read() {
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
