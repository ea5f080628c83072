//! The retry executor: sends the attempts of one request to MLflow or to S3.
//!
//! Signing, tracing, clock skew, retry budget, circuit breaker and backoff come together here. Each upstream only defines how
//! to sign a request and how to judge a response (`RetryableRequest`); the verdict on a failure is in `retry_rules`.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tracing::debug;

use crate::backoff::Backoff;
use crate::http::body::Body;
use crate::http::client::{Client, ClientError, Endpoint, Request, Response};
use crate::http::fields::Fields;
use crate::serve::error::ProxyError;
use crate::serve::limits::circuit_breaker::{CircuitBreaker, CircuitOpen};
use crate::serve::limits::retry_budget::RetryBudget;
use crate::serve::limits::shares::ShareHolder;
use crate::serve::telemetry::spans::Trace;
use crate::serve::upstream::clock_skew;
use crate::serve::upstream::retry_rules::{AttemptFailure, Repeatability, Verdict, decide};
use crate::serve::upstream::served_target::ServedTarget;

/// The first and the longest wait before a retry. The cause of a failed connection (a name server, a process that is being
/// replaced) takes a moment to pass.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));

/// A request that can be signed and sent more than once.
pub(crate) trait RetryableRequest {
    /// Signs the next attempt for the time `now`. Each attempt is signed anew, because a signature is valid for five minutes.
    fn sign(&mut self, now: SystemTime) -> Result<(), ProxyError>;

    /// Returns the fields in which the upstream finds the context of the trace, if it gets one.
    fn trace_fields(&mut self) -> Option<&mut Fields> {
        None
    }

    /// Returns the signed request.
    fn signed(&self) -> Request<'_>;

    /// Judges a response. `is_skewed` is true if it rejects the signature because of clock skew.
    async fn judge(&mut self, response: Box<Response>, is_skewed: bool) -> Attempt<Result<Box<Response>, ProxyError>>;

    /// Returns the error of an attempt without a response.
    fn no_response(error: ClientError) -> ProxyError;

    /// Returns the error of a request that the circuit breaker rejects.
    fn circuit_open(open: CircuitOpen) -> ProxyError;
}

/// The result of one attempt.
pub(crate) enum Attempt<T> {
    /// The upstream has responded.
    Done(T),
    /// The attempt has failed; the caller gets this result if there is no retry.
    Failed(AttemptFailure, T),
}

/// Sends requests to one upstream.
pub(crate) struct RetryExecutor<'a> {
    /// The connections to the upstream.
    pub client: &'a Client,
    /// The address of the upstream, for traces.
    pub endpoint: &'a Endpoint,
    /// The target whose clock skew counts.
    pub target: &'a ServedTarget,
    pub breaker: &'a CircuitBreaker,
    pub budget: &'a RetryBudget,
    pub trace: Option<&'a Rc<Trace>>,
    /// The caller, whose requests may all be slow.
    pub caller: ShareHolder,
}

impl RetryExecutor<'_> {
    /// Sends a request with this body, and retries it where the rules allow that.
    ///
    /// # Errors
    /// [`ProxyError`]: the request was not sent, or the upstream has not responded.
    pub(crate) async fn send<R: RetryableRequest>(
        &self,
        request: &mut R,
        repeatability: Repeatability,
        body: &Body,
    ) -> Result<Box<Response>, ProxyError> {
        let once = async |number: u32| self.attempt(request, number).await;
        attempts((repeatability, body), (self.breaker, self.budget), self.caller, once)
            .await
            .unwrap_or_else(|open| Err(R::circuit_open(open)))
    }

    async fn attempt<R: RetryableRequest>(
        &self,
        request: &mut R,
        number: u32,
    ) -> Attempt<Result<Box<Response>, ProxyError>> {
        let now = self.target.credentials.now();
        if let Err(error) = request.sign(now) {
            return Attempt::Failed(AttemptFailure::Own, Err(error));
        }
        let span = self.trace.map(|trace| {
            let signed = request.signed();
            let span = trace.call(&signed.method, self.endpoint, signed.target, number - 1);
            if let Some(fields) = request.trace_fields() {
                span.name_in(fields);
            }
            span
        });
        match self.client.send(request.signed()).await {
            Ok(response) => {
                if let Some(span) = span {
                    span.answered(&response);
                }
                let is_skewed = clock_skew::detect(&response, now, self.target);
                request.judge(response, is_skewed).await
            }
            Err(error) => {
                if let Some(span) = span {
                    span.failed(ProxyError::code_of(&error));
                }
                Attempt::Failed(AttemptFailure::of(&error), Err(R::no_response(error)))
            }
        }
    }
}

/// Makes attempts, numbered from 1, until one is done or the rules allow no further one, and returns the result of the last.
///
/// # Errors
/// [`CircuitOpen`] if the circuit breaker allows none.
async fn attempts<T>(
    (repeatability, body): (Repeatability, &Body),
    (breaker, budget): (&CircuitBreaker, &RetryBudget),
    caller: ShareHolder,
    mut once: impl AsyncFnMut(u32) -> Attempt<T>,
) -> Result<T, CircuitOpen> {
    let mut kind = breaker.permit(caller)?;
    budget.deposit();
    let mut backoff = BACKOFF;
    let mut number = 1;
    loop {
        let start = breaker.begin();
        let (failure, result) = match once(number).await {
            Attempt::Done(result) => {
                breaker.record_response();
                return Ok(result);
            }
            Attempt::Failed(failure, result) => (failure, result),
        };
        if failure.is_of_upstream() {
            breaker.record_failure(kind);
        } else if failure == AttemptFailure::Silent {
            breaker.record_silence(kind, start);
        } else if failure.is_response() {
            breaker.record_response();
        }
        let verdict = decide(repeatability.with(body), failure, number, budget.has_left());
        if verdict == Verdict::GiveUp {
            return Ok(result);
        }
        // The failed attempt may have opened the breaker.
        let Ok(next) = breaker.permit(caller) else { return Ok(result) };
        kind = next;
        budget.withdraw();
        number += 1;
        debug!(?failure, attempt = number, "the request is retried");
        if verdict == Verdict::RetryLater {
            sleep(backoff.wait()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::limits::circuit_breaker::THRESHOLD;

    /// Makes attempts that all fail in this way, and counts them.
    async fn count(
        breaker: &CircuitBreaker,
        budget: &RetryBudget,
        failure: AttemptFailure,
    ) -> Result<u32, CircuitOpen> {
        let mut made = 0;
        let once = async |_| {
            made += 1;
            Attempt::Failed(failure, ())
        };
        attempts((Repeatability::Safe, &Body::None), (breaker, budget), ShareHolder::of::<()>(None), once)
            .await
            .map(|()| made)
    }

    #[test]
    fn the_retry_budget_bounds_the_attempts_of_all_requests_together() {
        actix_web::rt::System::new().block_on(async {
            let (breaker, budget) = (CircuitBreaker::to("managed MLflow"), RetryBudget::default());
            let mut made = 0;
            for _ in 0..1000 {
                made += count(&breaker, &budget, AttemptFailure::Lost).await.expect("closed");
            }
            assert!((1000..1200).contains(&made), "{made} attempts of 1000 requests");
            assert!(!breaker.is_open(), "a connection that ends does not show that the upstream is unreachable");
        });
    }

    #[test]
    fn no_retry_follows_an_attempt_that_has_opened_the_circuit_breaker() {
        actix_web::rt::System::new().block_on(async {
            let (breaker, budget) = (CircuitBreaker::to("managed MLflow"), RetryBudget::default());
            for _ in 1..THRESHOLD {
                assert_eq!(count(&breaker, &budget, AttemptFailure::Unconnectable).await.expect("closed"), 1);
            }
            let last = count(&breaker, &budget, AttemptFailure::Unconnected).await;
            assert_eq!(last.expect("still closed"), 1, "this attempt opened the breaker");
            assert!(count(&breaker, &budget, AttemptFailure::Unconnected).await.is_err(), "the breaker is open");
        });
    }
}
