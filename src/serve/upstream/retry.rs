//! Makes the attempts of one request to MLflow or to S3, by one table of what may be made again.
//!
//! A request is repeated only if the upstream cannot have acted on it, or if acting on it twice is the same as once
//! and the failure looks like a pooled connection that had just been closed. An answer is an answer: a 429 or 503 of the
//! upstream goes to the caller with its `Retry-After`, because MLflow's clients wait and try again by themselves, and a
//! second set of attempts here would multiply the load on whoever has just said that it is too much. S3 is the exception:
//! AWS tells clients of S3 to repeat such requests, and our callers do not know that there is an S3.

use std::time::Duration;

use actix_web::http::Method;
use tokio::time::sleep;
use tracing::debug;

use crate::backoff::Backoff;
use crate::http::body::Body;
use crate::http::client::ClientError;
use crate::serve::limits::circuit_breaker::{Circuit, Open};
use crate::serve::limits::retry_budget::Allowance;

/// Attempts for one request. More would multiply the load on an upstream that is already failing.
const ATTEMPT_LIMIT: u32 = 2;
/// Attempts for one request if the service says that it is busy.
const BUSY_ATTEMPT_LIMIT: u32 = 3;
/// The first and the longest wait before another attempt. The cause of a failed connection (a name server, a process that is
/// being replaced) takes a moment to pass.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// What it means to do the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// Nothing changes, and the answer is the same.
    Harmless,
    /// Something may be done twice.
    Counts,
    /// The body went out with the first attempt, and is not here any more.
    Impossible,
}

impl Repetition {
    /// `DELETE` counts, though nothing is deleted twice: the second one answers 404.
    #[must_use]
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT => Self::Harmless,
            _ => Self::Counts,
        }
    }

    /// The same for a request with this body.
    #[must_use]
    pub(crate) fn with(self, body: &Body) -> Self {
        if body.is_spent() { Self::Impossible } else { self }
    }
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection came about. Another attempt may meet another address, or a better moment.
    Unconnected,
    /// No connection came about, and none will: a stranger answers there, or the name is none.
    Unconnectable,
    /// No connection became free in time. The caller has waited long enough.
    Crowded,
    /// The upstream declared that it has not begun.
    Refused,
    /// The connection ended. Nobody knows how far the upstream has come.
    Lost,
    /// The upstream has the request and says nothing. Time is up.
    Silent,
    /// What came back is not HTTP, and would not be another time.
    Garbled,
    /// The body could not be sent to its end: our own disk failed, or its caller.
    Own,
    /// AWS refused the signature for its time, and the time has been corrected since.
    Skewed,
    /// S3 answered that it has not done it and that another attempt may succeed.
    Busy,
}

impl Failure {
    /// The kind of an error.
    #[must_use]
    pub(crate) fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Dial(error) if error.may_pass() => Self::Unconnected,
            ClientError::Dial(_) => Self::Unconnectable,
            ClientError::Crowded(_) => Self::Crowded,
            ClientError::Refused(_) => Self::Refused,
            ClientError::Closed | ClientError::Broken(_) => Self::Lost,
            ClientError::NoAnswer(_) => Self::Silent,
            ClientError::Invalid(_) => Self::Garbled,
            ClientError::Body(_) | ClientError::HeadTooLarge { .. } => Self::Own,
        }
    }

    /// True if it says that the upstream is not there. One caller's request can bring about the others.
    fn is_of_upstream(self) -> bool {
        match self {
            Self::Unconnected | Self::Unconnectable | Self::Silent => true,
            // Of a connection that was opened, or of us.
            Self::Crowded | Self::Refused | Self::Lost | Self::Garbled | Self::Own | Self::Skewed | Self::Busy => false,
        }
    }

    /// True if the service has answered, so that it can be reached.
    fn is_answer(self) -> bool {
        matches!(self, Self::Skewed | Self::Busy)
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again at once.
    Again,
    /// Try again after a moment.
    AgainLater,
    /// Tell the caller.
    GiveUp,
}

/// Decides about attempt number `attempt` (from 1). `is_affordable` says that the target's allowance has a retry left.
#[must_use]
pub(crate) fn decide(repetition: Repetition, failure: Failure, attempt: u32, is_affordable: bool) -> Verdict {
    let limit = if failure == Failure::Busy { BUSY_ATTEMPT_LIMIT } else { ATTEMPT_LIMIT };
    if attempt >= limit || !is_affordable {
        return Verdict::GiveUp;
    }
    match (failure, repetition) {
        (_, Repetition::Impossible) => Verdict::GiveUp,
        // Nothing was sent, or what was sent was not acted on, and the same would happen at once.
        (Failure::Unconnected | Failure::Busy, _) => Verdict::AgainLater,
        // What was sent was not acted on.
        (Failure::Refused | Failure::Skewed, _) => Verdict::Again,
        (Failure::Lost, Repetition::Harmless) => Verdict::Again,
        (Failure::Lost, Repetition::Counts) => Verdict::GiveUp,
        (Failure::Unconnectable | Failure::Crowded | Failure::Silent | Failure::Garbled | Failure::Own, _) => {
            Verdict::GiveUp
        }
    }
}

/// The result of one attempt.
pub(crate) enum Attempt<T, E> {
    /// The service has answered.
    Answered(T),
    /// The attempt has failed; the caller gets this result if there is no further attempt.
    Failed(Failure, Result<T, E>),
}

impl<T, E> Attempt<T, E> {
    /// Nothing was sent, for example because there are no credentials.
    pub(crate) fn unsent(error: E) -> Self {
        Self::Failed(Failure::Own, Err(error))
    }
}

/// Makes attempts, numbered from 1, until one is answered or no further one is allowed, and returns the result of the last.
///
/// # Errors
/// [`Open`] if none may be made.
pub(crate) async fn attempt<T, E>(
    repetition: Repetition,
    body: &Body,
    (circuit, allowance): (&Circuit, &Allowance),
    mut once: impl AsyncFnMut(u32) -> Attempt<T, E>,
) -> Result<Result<T, E>, Open> {
    let mut pass = circuit.admit()?;
    allowance.earn();
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let mut number = 1;
    loop {
        let (failure, otherwise) = match once(number).await {
            Attempt::Answered(answer) => {
                circuit.answered();
                return Ok(Ok(answer));
            }
            Attempt::Failed(failure, otherwise) => (failure, otherwise),
        };
        if failure.is_of_upstream() {
            circuit.failed(pass);
        } else if failure.is_answer() {
            circuit.answered();
        }
        let verdict = decide(repetition.with(body), failure, number, allowance.has_left());
        if verdict == Verdict::GiveUp {
            return Ok(otherwise);
        }
        // The attempt that failed may have been the one too many.
        let Ok(next) = circuit.admit() else { return Ok(otherwise) };
        pass = next;
        allowance.spend();
        number += 1;
        debug!(?failure, attempt = number, "trying again");
        if verdict == Verdict::AgainLater {
            sleep(backoff.wait()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::http::body::OutgoingError;
    use crate::http::client::{DialError, TunnelError};

    /// Every way in which an exchange fails, with what to do about it where repeating is harmless, and where it counts.
    #[rustfmt::skip]
    fn table() -> Vec<(ClientError, Verdict, Verdict)> {
        use Verdict::{Again, AgainLater, GiveUp};
        let name = || "mlflow".to_owned();
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let stranger = || io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
        let limit = Duration::from_secs(1);
        let behind = |source| DialError::Proxy { proxy: name(), authority: name(), source }.into();
        vec![
            (DialError::Resolve { host: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Connect { authority: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Timeout { step: "connecting to", authority: name(), limit }.into(), AgainLater, AgainLater),
            (DialError::Tls { authority: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Tls { authority: name(), source: stranger() }.into(), GiveUp, GiveUp),
            (DialError::InvalidName(name()).into(), GiveUp, GiveUp),
            (behind(TunnelError::Broken(reset())), AgainLater, AgainLater),
            (behind(TunnelError::Refused { status: 407, reason: String::new() }), GiveUp, GiveUp),
            (ClientError::Crowded(limit), GiveUp, GiveUp),
            (ClientError::Refused(h2::Reason::REFUSED_STREAM.into()), Again, Again),
            (ClientError::Closed, Again, GiveUp),
            (ClientError::Broken(reset()), Again, GiveUp),
            (ClientError::NoAnswer(limit), GiveUp, GiveUp),
            (ClientError::Invalid("garbage".into()), GiveUp, GiveUp),
            (ClientError::Body(OutgoingError::Disk(reset())), GiveUp, GiveUp),
            (ClientError::HeadTooLarge { size: 2, limit: 1 }, GiveUp, GiveUp),
        ]
    }

    /// Fails to compile when there is a way to fail that the table lacks.
    fn row(error: &ClientError) -> usize {
        match error {
            ClientError::Dial(DialError::Resolve { .. }) => 0,
            ClientError::Dial(DialError::Connect { .. }) => 1,
            ClientError::Dial(DialError::Timeout { .. }) => 2,
            ClientError::Dial(DialError::Tls { source, .. }) if source.get_ref().is_none() => 3,
            ClientError::Dial(DialError::Tls { .. }) => 4,
            ClientError::Dial(DialError::InvalidName(_)) => 5,
            ClientError::Dial(DialError::Proxy { source: TunnelError::Refused { .. }, .. }) => 7,
            ClientError::Dial(DialError::Proxy { .. }) => 6,
            ClientError::Crowded(_) => 8,
            ClientError::Refused(_) => 9,
            ClientError::Closed => 10,
            ClientError::Broken(_) => 11,
            ClientError::NoAnswer(_) => 12,
            ClientError::Invalid(_) => 13,
            ClientError::Body(_) => 14,
            ClientError::HeadTooLarge { .. } => 15,
        }
    }

    fn methods() -> [(Method, bool); 10] {
        let custom = Method::from_bytes(b"PURGE").expect("a method");
        [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::PUT, true),
            (Method::POST, false),
            (Method::PATCH, false),
            (Method::DELETE, false),
            (Method::TRACE, false),
            (Method::CONNECT, false),
            (custom, false),
        ]
    }

    #[test]
    fn the_table_holds_for_every_failure_method_attempt_and_allowance() {
        let mut decided = 0;
        for (number, (error, harmless, counts)) in table().into_iter().enumerate() {
            assert_eq!(row(&error), number, "{error:?} stands where it belongs");
            for (method, is_harmless) in methods() {
                for attempt in 1..=4 {
                    for is_affordable in [true, false] {
                        let verdict = decide(Repetition::of(&method), Failure::of(&error), attempt, is_affordable);
                        let expected = match (attempt, is_affordable) {
                            (1, true) => {
                                if is_harmless {
                                    harmless
                                } else {
                                    counts
                                }
                            }
                            _ => Verdict::GiveUp,
                        };
                        let case = format!("{error:?}, {method}, attempt {attempt}, affordable: {is_affordable}");
                        assert_eq!(verdict, expected, "{case}");
                        // What the table must never say, whoever changes it.
                        if verdict != Verdict::GiveUp && !error.is_certainly_unprocessed() {
                            assert!(is_harmless, "it might be done twice: {case}");
                        }
                        let spent = decide(Repetition::Impossible, Failure::of(&error), attempt, is_affordable);
                        assert_eq!(spent, Verdict::GiveUp, "there is nothing left to send: {case}");
                        decided += 1;
                    }
                }
            }
        }
        assert_eq!(decided, 16 * 10 * 4 * 2);
    }

    #[test]
    fn a_refusal_for_the_time_is_repeated_once_for_every_method() {
        for (method, _) in methods() {
            assert_eq!(decide(Repetition::of(&method), Failure::Skewed, 1, true), Verdict::Again, "{method}");
            assert_eq!(decide(Repetition::of(&method), Failure::Skewed, 2, true), Verdict::GiveUp, "{method}");
        }
    }

    #[test]
    fn a_busy_service_is_asked_twice_more_at_most_and_later() {
        for (method, _) in methods() {
            for (attempt, expected) in [(1, Verdict::AgainLater), (2, Verdict::AgainLater), (3, Verdict::GiveUp)] {
                assert_eq!(decide(Repetition::of(&method), Failure::Busy, attempt, true), expected, "{method}");
            }
            assert_eq!(decide(Repetition::of(&method), Failure::Busy, 1, false), Verdict::GiveUp, "{method}");
        }
        assert_eq!(decide(Repetition::Impossible, Failure::Busy, 1, true), Verdict::GiveUp);
    }

    /// Makes attempts that all fail in this way, and counts them.
    async fn count(circuit: &Circuit, allowance: &Allowance, failure: Failure) -> Result<u32, Open> {
        let mut made = 0;
        let once = async |_| {
            made += 1;
            Attempt::<(), ()>::Failed(failure, Err(()))
        };
        let result = attempt(Repetition::Harmless, &Body::None, (circuit, allowance), once).await;
        result.map(|_| made)
    }

    #[test]
    fn the_allowance_bounds_the_attempts_of_all_requests_together() {
        actix_web::rt::System::new().block_on(async {
            let (circuit, allowance) = (Circuit::default(), Allowance::default());
            let mut made = 0;
            for _ in 0..1000 {
                made += count(&circuit, &allowance, Failure::Lost).await.expect("closed");
            }
            assert!((1000..1200).contains(&made), "{made} attempts of 1000 requests");
            assert!(!circuit.is_open(), "a connection that ends says nothing about the service");
        });
    }

    #[test]
    fn no_attempt_follows_one_that_has_opened_the_circuit() {
        actix_web::rt::System::new().block_on(async {
            let (circuit, allowance) = (Circuit::default(), Allowance::default());
            for _ in 1..crate::serve::limits::circuit_breaker::THRESHOLD {
                assert_eq!(count(&circuit, &allowance, Failure::Unconnectable).await.expect("closed"), 1);
            }
            let last = count(&circuit, &allowance, Failure::Unconnected).await;
            assert_eq!(last.expect("still closed"), 1, "this one was too many");
            assert!(count(&circuit, &allowance, Failure::Unconnected).await.is_err(), "open");
        });
    }
}
