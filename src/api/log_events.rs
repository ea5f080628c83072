//! CloudWatch Logs: makes a stream in a group, and puts events into it.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::json::{self, JsonCall};
use super::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::clock;
use crate::http::client::Endpoint;

/// The limits of one call, as the API reference of `PutLogEvents` states them. AWS counts the bytes of all messages, and
/// [`EVENT_OVERHEAD`] for each.
pub const BATCH_EVENTS: usize = 10_000;
/// The maximum size of a batch. Bytes.
pub const BATCH_BYTES: usize = 1_048_576;
/// The bytes that AWS adds to the size of each message.
pub const EVENT_OVERHEAD: usize = 26;
/// The longest time between the first and the last event of a batch.
pub const BATCH_SPAN: Duration = Duration::from_hours(24);
/// The maximum size of a message. AWS takes more today, but it took no more for years, and some regions follow late. Bytes.
pub const MESSAGE_BYTES: usize = 256 * 1024 - EVENT_OVERHEAD;

/// A group of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGroup {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The endpoint of the service.
    pub endpoint: Endpoint,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEvent {
    /// Its time in milliseconds since 1970.
    pub timestamp: u64,
    /// Its text, which must not be empty.
    pub message: String,
}

/// A stream of a group, and the means to write to it.
#[derive(Clone, Copy)]
pub struct LogStream<'a> {
    /// The group.
    pub group: &'a LogGroup,
    /// The stream's name.
    pub name: &'a str,
    /// The connections to AWS.
    pub transport: &'a Transport,
    /// The credentials that sign the requests.
    pub credentials: &'a CurrentCredentials,
}

/// The reason why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub enum LogEventsError {
    /// AWS did not answer.
    #[error("CloudWatch Logs did not answer")]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error("CloudWatch Logs answered `{operation}` on the log group `{group}` with {code}: {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The group.
        group: String,
        /// AWS's name for the error, or the status if there is none.
        code: String,
        /// AWS's message.
        message: String,
    },
}

impl LogEvent {
    /// An event of this moment.
    #[must_use]
    pub fn now(message: String) -> Self {
        let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { timestamp: u64::try_from(now).unwrap_or(u64::MAX), message }
    }
}

impl LogStream<'_> {
    /// Makes the stream, unless it exists.
    ///
    /// # Errors
    /// [`LogEventsError`].
    pub async fn create(self) -> Result<(), LogEventsError> {
        let made = self.call("CreateLogStream", &StreamInput { group: &self.group.name, stream: self.name }).await;
        match made {
            Err(LogEventsError::Refused { code, .. }) if code == "ResourceAlreadyExistsException" => Ok(()),
            made => made.map(|_| ()),
        }
    }

    /// Puts events into the stream, which have to respect the limits above and to be in the order of their times. Returns
    /// the number of events that AWS did not take.
    ///
    /// # Errors
    /// [`LogEventsError`].
    pub async fn put(self, events: &[LogEvent]) -> Result<usize, LogEventsError> {
        let input = EventsInput { group: &self.group.name, stream: self.name, events };
        let answer = self.call("PutLogEvents", &input).await?;
        Ok(rejected(&answer, events.len()))
    }

    async fn call<T: Serialize>(self, operation: &'static str, input: &T) -> Result<Vec<u8>, LogEventsError> {
        let LogGroup { name, region, endpoint } = self.group;
        let target = format!("Logs_20140328.{operation}");
        let call = JsonCall { endpoint, region, service: "logs", operation: &target, input };
        let (status, answer) = json::send(call, self.transport, self.credentials).await?;
        if status == StatusCode::OK {
            return Ok(answer.to_vec());
        }
        let code = json::named_error(&answer).unwrap_or_else(|| status.as_u16().to_string());
        let message = json::error_message(&answer);
        Err(LogEventsError::Refused { operation, group: name.clone(), code, message })
    }
}

impl LogEventsError {
    fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unanswered(_) => None,
        }
    }

    /// True if there is no such group or stream.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.code() == Some("ResourceNotFoundException")
    }

    /// True if the credentials have expired.
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        self.code().is_some_and(|code| code.starts_with("ExpiredToken") || code == "RequestExpired")
    }

    /// True if AWS does not take these events, however often they are sent.
    #[must_use]
    pub fn is_about_events(&self) -> bool {
        let codes = ["InvalidParameterException", "ValidationException", "SerializationException", "413"];
        self.code().is_some_and(|code| codes.contains(&code))
    }

    /// True if only an operator can remove the cause: a permission or the group is missing.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.is_absence() || self.code().is_some_and(|code| code.starts_with("AccessDenied"))
    }

    /// The fix, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unanswered(_) => {
                "check the credentials, and the network between here and CloudWatch Logs: routes, the VPC endpoint of logs"
            }
            _ if self.is_absence() => {
                "create the log group, or correct its name, its region or the account in `cloudwatch-log-group`"
            }
            _ if self.is_lasting() => {
                "allow `logs:CreateLogStream` and `logs:PutLogEvents` on the log group to the machine's own role or user, \
                 and let CloudWatch Logs use the group's KMS key if it has one"
            }
            Self::Refused { code, .. } if code.starts_with("Throttling") => {
                "raise the quota of PutLogEvents for this account and region, or send less with `cloudwatch-log-content`"
            }
            Self::Refused { .. } => "look the error up in the API reference of CloudWatch Logs",
        }
    }
}

#[derive(Serialize)]
struct StreamInput<'a> {
    #[serde(rename = "logGroupName")]
    group: &'a str,
    #[serde(rename = "logStreamName")]
    stream: &'a str,
}

#[derive(Serialize)]
struct EventsInput<'a> {
    #[serde(rename = "logGroupName")]
    group: &'a str,
    #[serde(rename = "logStreamName")]
    stream: &'a str,
    #[serde(rename = "logEvents")]
    events: &'a [LogEvent],
}

/// Returns the number of events, of so many, that AWS did not take because they are too old or too new.
fn rejected(answer: &[u8], sent: usize) -> usize {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct RejectedEvents {
        #[serde(rename = "tooOldLogEventEndIndex")]
        old_until: usize,
        #[serde(rename = "expiredLogEventEndIndex")]
        expired_until: usize,
        #[serde(rename = "tooNewLogEventStartIndex")]
        new_from: Option<usize>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct PutAnswer {
        rejected_log_events_info: Option<RejectedEvents>,
    }
    let taken: PutAnswer = serde_json::from_slice(answer).unwrap_or_default();
    let Some(info) = taken.rejected_log_events_info else { return 0 };
    // The ends are exclusive, and the start is inclusive.
    let old = info.old_until.max(info.expired_until);
    let new = info.new_from.map_or(0, |start| sent.saturating_sub(start));
    old.saturating_add(new).min(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_events_are_counted_from_both_ends() {
        for (answer, expected) in [
            ("{}", 0),
            ("", 0),
            ("{\"nextSequenceToken\":\"1\"}", 0),
            ("{\"rejectedLogEventsInfo\":{}}", 0),
            ("{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":3}}", 3),
            ("{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":3,\"expiredLogEventEndIndex\":5}}", 5),
            ("{\"rejectedLogEventsInfo\":{\"tooNewLogEventStartIndex\":8}}", 2),
            ("{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":1,\"tooNewLogEventStartIndex\":9}}", 2),
            ("{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":99,\"tooNewLogEventStartIndex\":0}}", 10),
        ] {
            assert_eq!(rejected(answer.as_bytes(), 10), expected, "{answer}");
        }
    }

    #[test]
    fn each_error_has_its_consequence_and_its_hint() {
        let refused = |code: &str| LogEventsError::Refused {
            operation: "PutLogEvents",
            group: "g".to_owned(),
            code: code.to_owned(),
            message: "m".to_owned(),
        };
        for (code, is_lasting, is_about_events, hint) in [
            ("ResourceNotFoundException", true, false, "create the log group"),
            ("AccessDeniedException", true, false, "`logs:PutLogEvents`"),
            ("InvalidParameterException", false, true, "API reference"),
            ("ThrottlingException", false, false, "quota"),
            ("ServiceUnavailableException", false, false, "API reference"),
            ("503", false, false, "API reference"),
        ] {
            let error = refused(code);
            assert_eq!((error.is_lasting(), error.is_about_events()), (is_lasting, is_about_events), "{code}");
            assert!(error.hint().contains(hint), "{code}: {}", error.hint());
        }
        assert!(refused("ExpiredTokenException").is_expiry() && !refused("ThrottlingException").is_expiry());
    }
}
