//! Decides whether a failed attempt may be made again. Pure: what happened in, a verdict out.
//!
//! A request is repeated only if the upstream cannot have acted on it, or if acting on it twice is the same as once
//! and the failure looks like a pooled connection that had just been closed. An answer is an answer: a 429 or 503 of the
//! upstream goes to the caller with its `Retry-After`, because MLflow's clients wait and try again by themselves, and a
//! second set of attempts here would multiply the load on whoever has just said that it is too much.

use std::ops::RangeInclusive;
use std::time::Duration;

use actix_web::http::Method;

use super::allowance::Allowance;
use super::circuit::{Circuit, Open, Pass};
use crate::http::body::Body;
use crate::http::client::ClientError;

/// Attempts for one request. More would multiply the load on an upstream that is already failing.
const ATTEMPT_LIMIT: u32 = 2;
/// Before a connection is tried again that could not be opened. What stood in its way a moment ago (a name server, a
/// process that is being replaced) is there still; the spread keeps those who failed together from coming back together.
const PAUSE_MS: RangeInclusive<u64> = 50..=250;

/// What it means to do the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
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
    pub(super) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT => Self::Harmless,
            _ => Self::Counts,
        }
    }

    /// The same for a request with this body.
    #[must_use]
    pub(super) fn with(self, body: &Body) -> Self {
        if body.is_spent() { Self::Impossible } else { self }
    }
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
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
}

impl Failure {
    /// The kind of an error.
    #[must_use]
    pub(super) fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Dial(error) if error.may_pass() => Self::Unconnected,
            ClientError::Dial(_) => Self::Unconnectable,
            ClientError::Crowded(_) => Self::Crowded,
            ClientError::Refused(_) => Self::Refused,
            ClientError::Closed | ClientError::Broken(_) => Self::Lost,
            ClientError::NoAnswer(_) => Self::Silent,
            ClientError::Invalid(_) => Self::Garbled,
            ClientError::Body(_) => Self::Own,
        }
    }

    /// True if it says that the upstream is not there. One caller's request can bring about the others.
    fn is_of_upstream(self) -> bool {
        match self {
            Self::Unconnected | Self::Unconnectable | Self::Silent => true,
            // Of a connection that was opened, or of us.
            Self::Crowded | Self::Refused | Self::Lost | Self::Garbled | Self::Own | Self::Skewed => false,
        }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again at once.
    Again,
    /// Try again after a moment.
    AgainLater,
    /// Tell the caller.
    GiveUp,
}

/// Decides about attempt number `attempt` (from 1). `is_affordable` says that the target's allowance has a retry left.
#[must_use]
pub(super) fn decide(repetition: Repetition, failure: Failure, attempt: u32, is_affordable: bool) -> Verdict {
    if attempt >= ATTEMPT_LIMIT || !is_affordable {
        return Verdict::GiveUp;
    }
    match (failure, repetition) {
        (_, Repetition::Impossible) => Verdict::GiveUp,
        // Nothing was sent.
        (Failure::Unconnected, _) => Verdict::AgainLater,
        // What was sent was not acted on.
        (Failure::Refused | Failure::Skewed, _) => Verdict::Again,
        (Failure::Lost, Repetition::Harmless) => Verdict::Again,
        (Failure::Lost, Repetition::Counts) => Verdict::GiveUp,
        (Failure::Unconnectable | Failure::Crowded | Failure::Silent | Failure::Garbled | Failure::Own, _) => {
            Verdict::GiveUp
        }
    }
}

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    repetition: Repetition,
    circuit: &'a Circuit,
    allowance: &'a Allowance,
    number: u32,
    pass: Pass,
}

impl<'a> Attempts<'a> {
    /// Begins the first one.
    ///
    /// # Errors
    /// [`Open`].
    pub(super) fn begin(method: &Method, circuit: &'a Circuit, allowance: &'a Allowance) -> Result<Self, Open> {
        let pass = circuit.admit()?;
        allowance.earn();
        Ok(Self { repetition: Repetition::of(method), circuit, allowance, number: 1, pass })
    }

    /// Takes note that an answer came.
    pub(super) fn answered(&self) {
        self.circuit.answered();
    }

    /// Takes note of a failure, and returns how long to wait before the next attempt if there is to be one.
    pub(super) fn failed(&mut self, error: &ClientError, body: &Body) -> Option<Duration> {
        let failure = Failure::of(error);
        if failure.is_of_upstream() {
            self.circuit.failed(self.pass);
        }
        self.again(failure, body)
    }

    /// The same for an answer that amounts to a failure.
    pub(super) fn again(&mut self, failure: Failure, body: &Body) -> Option<Duration> {
        let repetition = self.repetition.with(body);
        let wait = match decide(repetition, failure, self.number, self.allowance.has_left()) {
            Verdict::GiveUp => return None,
            Verdict::Again => Duration::ZERO,
            Verdict::AgainLater => Duration::from_millis(random(PAUSE_MS)),
        };
        // The attempt that failed may have been the one too many.
        self.pass = self.circuit.admit().ok()?;
        self.allowance.spend();
        self.number += 1;
        Some(wait)
    }
}

/// A random number of a range. `RandomState` is the standard library's source of them.
fn random(range: RangeInclusive<u64>) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let (least, most) = range.into_inner();
    least + RandomState::new().build_hasher().finish() % (most - least + 1)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::http::body::OutgoingError;
    use crate::http::client::DialError;

    /// Every way in which an exchange fails, with what to do about it where repeating is harmless, and where it counts.
    #[rustfmt::skip]
    fn table() -> Vec<(ClientError, Verdict, Verdict)> {
        use Verdict::{Again, AgainLater, GiveUp};
        let name = || "mlflow".to_owned();
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let stranger = || io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
        let limit = Duration::from_secs(1);
        vec![
            (DialError::Resolve { host: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Connect { authority: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Timeout { step: "connecting to", authority: name(), limit }.into(), AgainLater, AgainLater),
            (DialError::Tls { authority: name(), source: reset() }.into(), AgainLater, AgainLater),
            (DialError::Tls { authority: name(), source: stranger() }.into(), GiveUp, GiveUp),
            (DialError::InvalidName(name()).into(), GiveUp, GiveUp),
            (ClientError::Crowded(limit), GiveUp, GiveUp),
            (ClientError::Refused(h2::Reason::REFUSED_STREAM.into()), Again, Again),
            (ClientError::Closed, Again, GiveUp),
            (ClientError::Broken(reset()), Again, GiveUp),
            (ClientError::NoAnswer(limit), GiveUp, GiveUp),
            (ClientError::Invalid("garbage".into()), GiveUp, GiveUp),
            (ClientError::Body(OutgoingError::Disk(reset())), GiveUp, GiveUp),
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
            ClientError::Crowded(_) => 6,
            ClientError::Refused(_) => 7,
            ClientError::Closed => 8,
            ClientError::Broken(_) => 9,
            ClientError::NoAnswer(_) => 10,
            ClientError::Invalid(_) => 11,
            ClientError::Body(_) => 12,
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
        assert_eq!(decided, 13 * 10 * 4 * 2);
    }

    #[test]
    fn a_refusal_for_the_time_is_repeated_once_for_every_method() {
        for (method, _) in methods() {
            assert_eq!(decide(Repetition::of(&method), Failure::Skewed, 1, true), Verdict::Again, "{method}");
            assert_eq!(decide(Repetition::of(&method), Failure::Skewed, 2, true), Verdict::GiveUp, "{method}");
        }
    }

    #[test]
    fn pauses_are_spread_within_their_bounds() {
        let pauses: Vec<_> = (0..200).map(|_| random(PAUSE_MS)).collect();
        assert!(pauses.iter().all(|pause| PAUSE_MS.contains(pause)), "{pauses:?}");
        assert!(pauses.iter().collect::<std::collections::HashSet<_>>().len() > 20, "{pauses:?}");
    }

    #[test]
    fn no_attempt_follows_one_that_has_opened_the_circuit() {
        let (circuit, allowance) = (Circuit::default(), Allowance::default());
        let refused = || ClientError::from(DialError::InvalidName("mlflow".into()));
        let passing = ClientError::from(DialError::Connect {
            authority: "mlflow".into(),
            source: io::ErrorKind::ConnectionRefused.into(),
        });
        let begin = || Attempts::begin(&Method::GET, &circuit, &allowance);
        for _ in 1..super::super::circuit::THRESHOLD {
            assert_eq!(begin().expect("closed").failed(&refused(), &Body::None), None);
        }
        assert_eq!(begin().expect("still closed").failed(&passing, &Body::None), None, "this one was too many");
        assert!(begin().is_err(), "open");
    }
}
