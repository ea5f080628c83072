//! The rules of retries: one table for requests to MLflow and to S3.
//!
//! A request is sent once more only if the upstream cannot have acted on it, or if acting on it twice has the same effect as
//! once and the failure looks like a pooled connection that had just been closed. A response is final: a 429 or 503 of the
//! upstream goes to the caller with its `Retry-After`, because MLflow's clients retry by themselves, and a second set of
//! attempts here would multiply the load on an overloaded upstream. S3 is the exception: AWS tells clients of S3 to retry
//! such requests, and our callers do not know that there is an S3.

use actix_web::http::Method;

use crate::http::body::Body;
use crate::http::client::ClientError;

/// The limit of attempts for one request. More would multiply the load on an upstream that is already failing.
const ATTEMPT_LIMIT: u32 = 2;
/// The limit of attempts for one request if S3 responds that it is busy.
const BUSY_ATTEMPT_LIMIT: u32 = 3;
/// The effect of sending a request once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatability {
    /// The effect is the same as that of one request.
    Safe,
    /// The upstream may do something twice.
    Unsafe,
    /// The first attempt has streamed the body, which is gone.
    Impossible,
}

impl Repeatability {
    /// Returns the repeatability of a method. `DELETE` is unsafe, because the second one is answered 404.
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT => Self::Safe,
            _ => Self::Unsafe,
        }
    }

    /// Returns the repeatability of a request with this body.
    pub(crate) fn with(self, body: &Body) -> Self {
        if body.is_spent() { Self::Impossible } else { self }
    }
}

/// The failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    /// The connection failed. Another attempt may reach another address, or a better moment.
    Unconnected,
    /// The connection failed and would fail again: the certificate is not trusted, or the name is invalid.
    Unconnectable,
    /// No connection of the pool became free in time. The caller has waited long enough.
    Crowded,
    /// The upstream declared that it has not begun to process the request.
    Refused,
    /// The connection ended. It is unknown how far the upstream has come.
    Lost,
    /// The upstream has received the request and has not responded in time.
    Silent,
    /// The response is not HTTP, and would not be after another attempt.
    Garbled,
    /// The appliance could not send the body to its end, because its disk or the caller failed.
    Own,
    /// AWS rejected the signature because of clock skew, which has been corrected since.
    Skewed,
    /// S3 responded that it has not acted on the request and that another attempt may succeed.
    Busy,
}

impl AttemptFailure {
    /// Returns the failure that an error amounts to.
    pub(crate) fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Dial(error) if error.is_temporary() => Self::Unconnected,
            ClientError::Dial(_) => Self::Unconnectable,
            ClientError::Crowded(_) => Self::Crowded,
            ClientError::Refused(_) => Self::Refused,
            ClientError::Closed | ClientError::Broken(_) => Self::Lost,
            ClientError::NoAnswer(_) => Self::Silent,
            ClientError::Invalid(_) => Self::Garbled,
            ClientError::Body(_) | ClientError::HeadTooLarge { .. } => Self::Own,
        }
    }

    /// Returns true if the upstream cannot be reached. The request of one caller can cause the other failures.
    pub(crate) fn is_of_upstream(self) -> bool {
        match self {
            Self::Unconnected | Self::Unconnectable => true,
            // These are failures of an open connection, or of the appliance. Whether silence is one, others' requests tell.
            Self::Silent
            | Self::Crowded
            | Self::Refused
            | Self::Lost
            | Self::Garbled
            | Self::Own
            | Self::Skewed
            | Self::Busy => false,
        }
    }

    /// Returns true if the upstream has responded, which shows that it can be reached.
    pub(crate) fn is_response(self) -> bool {
        matches!(self, Self::Skewed | Self::Busy)
    }
}

/// The action after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Retry at once.
    Retry,
    /// Retry after a backoff.
    RetryLater,
    /// Return the failure to the caller.
    GiveUp,
}

/// Decides what follows attempt number `attempt` (from 1). `is_affordable` is true if the retry budget pays for a retry.
pub(crate) fn decide(
    repeatability: Repeatability,
    failure: AttemptFailure,
    attempt: u32,
    is_affordable: bool,
) -> Verdict {
    let limit = if failure == AttemptFailure::Busy { BUSY_ATTEMPT_LIMIT } else { ATTEMPT_LIMIT };
    if attempt >= limit || !is_affordable {
        return Verdict::GiveUp;
    }
    match (failure, repeatability) {
        (_, Repeatability::Impossible) => Verdict::GiveUp,
        // The upstream has not acted on the request, and an immediate retry would fail for the same reason.
        (AttemptFailure::Unconnected | AttemptFailure::Busy, _) => Verdict::RetryLater,
        // The upstream has not acted on the request.
        (AttemptFailure::Refused | AttemptFailure::Skewed, _) => Verdict::Retry,
        (AttemptFailure::Lost, Repeatability::Safe) => Verdict::Retry,
        (AttemptFailure::Lost, Repeatability::Unsafe) => Verdict::GiveUp,
        (
            AttemptFailure::Unconnectable
            | AttemptFailure::Crowded
            | AttemptFailure::Silent
            | AttemptFailure::Garbled
            | AttemptFailure::Own,
            _,
        ) => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::http::body::OutgoingError;
    use crate::http::client::{DialError, TunnelError};

    /// True if it is certain that the upstream has not begun to act on the request.
    fn is_certainly_unprocessed(error: &ClientError) -> bool {
        match error {
            ClientError::Dial(_) | ClientError::Crowded(_) => true,
            ClientError::Refused(_) | ClientError::HeadTooLarge { .. } => true,
            ClientError::NoAnswer(_) | ClientError::Closed | ClientError::Broken(_) => false,
            ClientError::Invalid(_) | ClientError::Body(_) => false,
        }
    }

    /// Every failure, with the verdict for safe and for unsafe requests.
    #[rustfmt::skip]
    fn table() -> Vec<(ClientError, Verdict, Verdict)> {
        use Verdict::{GiveUp, Retry, RetryLater};
        let name = || "mlflow".to_owned();
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let stranger = || io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
        let limit = Duration::from_secs(1);
        let behind = |source| DialError::Proxy { proxy: name(), authority: name(), source }.into();
        vec![
            (DialError::Resolve { host: name(), source: reset() }.into(), RetryLater, RetryLater),
            (DialError::Connect { authority: name(), source: reset() }.into(), RetryLater, RetryLater),
            (DialError::Timeout { step: "connecting to", authority: name(), limit }.into(), RetryLater, RetryLater),
            (DialError::Tls { authority: name(), source: reset() }.into(), RetryLater, RetryLater),
            (DialError::Tls { authority: name(), source: stranger() }.into(), GiveUp, GiveUp),
            (DialError::InvalidName(name()).into(), GiveUp, GiveUp),
            (behind(TunnelError::Broken(reset())), RetryLater, RetryLater),
            (behind(TunnelError::Refused { status: 407, reason: String::new() }), GiveUp, GiveUp),
            (ClientError::Crowded(limit), GiveUp, GiveUp),
            (ClientError::Refused(h2::Reason::REFUSED_STREAM.into()), Retry, Retry),
            (ClientError::Closed, Retry, GiveUp),
            (ClientError::Broken(reset()), Retry, GiveUp),
            (ClientError::NoAnswer(limit), GiveUp, GiveUp),
            (ClientError::Invalid("garbage".into()), GiveUp, GiveUp),
            (ClientError::Body(OutgoingError::Disk(reset())), GiveUp, GiveUp),
            (ClientError::HeadTooLarge { size: 2, limit: 1 }, GiveUp, GiveUp),
        ]
    }

    /// Fails to compile when a new error has no row in the table.
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
    fn the_table_holds_for_every_failure_method_attempt_and_budget() {
        let mut decided = 0;
        for (number, (error, if_safe, if_unsafe)) in table().into_iter().enumerate() {
            assert_eq!(row(&error), number, "{error:?} has its own row");
            for (method, is_safe) in methods() {
                for attempt in 1..=4 {
                    for is_affordable in [true, false] {
                        let verdict =
                            decide(Repeatability::of(&method), AttemptFailure::of(&error), attempt, is_affordable);
                        let expected = match (attempt, is_affordable) {
                            (1, true) => {
                                if is_safe {
                                    if_safe
                                } else {
                                    if_unsafe
                                }
                            }
                            _ => Verdict::GiveUp,
                        };
                        let case = format!("{error:?}, {method}, attempt {attempt}, affordable: {is_affordable}");
                        assert_eq!(verdict, expected, "{case}");
                        // These rules hold for every version of the table.
                        if verdict != Verdict::GiveUp && !is_certainly_unprocessed(&error) {
                            assert!(is_safe, "it might be done twice: {case}");
                        }
                        let spent =
                            decide(Repeatability::Impossible, AttemptFailure::of(&error), attempt, is_affordable);
                        assert_eq!(spent, Verdict::GiveUp, "the body is gone: {case}");
                        decided += 1;
                    }
                }
            }
        }
        assert_eq!(decided, 16 * 10 * 4 * 2);
    }

    #[test]
    fn a_request_of_any_method_is_retried_once_after_clock_skew() {
        for (method, _) in methods() {
            assert_eq!(decide(Repeatability::of(&method), AttemptFailure::Skewed, 1, true), Verdict::Retry, "{method}");
            assert_eq!(
                decide(Repeatability::of(&method), AttemptFailure::Skewed, 2, true),
                Verdict::GiveUp,
                "{method}"
            );
        }
    }

    #[test]
    fn a_request_to_a_busy_s3_is_retried_at_most_twice_with_backoff() {
        for (method, _) in methods() {
            for (attempt, expected) in [(1, Verdict::RetryLater), (2, Verdict::RetryLater), (3, Verdict::GiveUp)] {
                assert_eq!(
                    decide(Repeatability::of(&method), AttemptFailure::Busy, attempt, true),
                    expected,
                    "{method}"
                );
            }
            assert_eq!(decide(Repeatability::of(&method), AttemptFailure::Busy, 1, false), Verdict::GiveUp, "{method}");
        }
        assert_eq!(decide(Repeatability::Impossible, AttemptFailure::Busy, 1, true), Verdict::GiveUp);
    }
}
