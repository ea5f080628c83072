//! A simulation of CloudWatch Logs with one group. It takes what AWS takes by its API reference, and remembers each batch that
//! breaks a rule.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::upstream::{Recorded, Upstream};
use super::{Message as _, eventually};

pub const GROUP: &str = "/mlflow/appliance";
/// The header that names the operation. A probe of the network sends none.
const OPERATION: &str = "x-amz-target";

/// The way in which it behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// The group does not exist.
    WithoutGroup,
    /// Neither operation is allowed.
    Denying,
    /// It answers with 503.
    Down,
    /// It asks for fewer calls.
    Throttling,
    /// It takes connections and does not answer.
    Silent,
    /// The credentials are said to have expired.
    Expired,
    /// The first two events of a batch are too old.
    TooOld,
    /// A parameter is invalid.
    Invalid,
}

/// The running simulation.
pub struct LogService {
    server: Upstream,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    streams: BTreeMap<String, Vec<Value>>,
    broken_rules: Vec<String>,
}

impl LogService {
    /// Starts with the group, and without a stream.
    pub fn start() -> Self {
        Self::behaving(Mood::Well)
    }

    /// Starts in another way.
    pub fn behaving(mood: Mood) -> Self {
        let state = Arc::new(Mutex::new(State { mood, ..State::default() }));
        let shared = Arc::clone(&state);
        let server = Upstream::plain(move |request, wire| {
            let mood = shared.lock().unwrap().mood;
            if mood == Mood::Silent {
                std::thread::sleep(Duration::from_secs(60));
            }
            let answer = shared.lock().unwrap().answer(request);
            match answer {
                Ok(value) => wire.answer("200 OK", value.to_string()),
                Err((status, kind, message)) => {
                    wire.answer(status, json!({"__type": kind, "message": message}).to_string())
                }
            }
        });
        Self { server, state }
    }

    /// The URL for `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Behaves in another way from now on.
    pub fn becomes(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Deletes all streams, as an operator may.
    pub fn delete_streams(&self) {
        self.state.lock().unwrap().streams.clear();
    }

    /// The names of the streams.
    pub fn streams(&self) -> Vec<String> {
        self.state.lock().unwrap().streams.keys().cloned().collect()
    }

    /// The messages of all streams whose names begin like this, in the order in which they came.
    pub fn messages(&self, beginning: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        assert!(state.broken_rules.is_empty(), "{:?}", state.broken_rules);
        let streams = state.streams.iter().filter(|(name, _)| name.starts_with(beginning));
        let events = streams.flat_map(|(_, events)| events);
        events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until there is a message that contains these words.
    #[track_caller]
    pub fn wait_for(&self, beginning: &str, words: &str) {
        eventually(words, || self.messages(beginning).iter().any(|message| message.contains(words)));
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// The number of calls of an operation.
    pub fn calls(&self, operation: &str) -> usize {
        let wanted = format!("Logs_20140328.{operation}");
        self.requests().iter().filter(|request| request.all(OPERATION) == [wanted.as_str()]).count()
    }
}

type Answer = Result<Value, (&'static str, &'static str, &'static str)>;

fn refused(kind: &'static str, message: &'static str) -> Answer {
    Err(("400 Bad Request", kind, message))
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Answer {
        if !request.has(OPERATION) {
            return refused("UnknownOperationException", "no operation");
        }
        match self.mood {
            Mood::Down => return Err(("503 Service Unavailable", "ServiceUnavailableException", "try later")),
            Mood::Throttling => return refused("ThrottlingException", "Rate exceeded"),
            Mood::Denying => return refused("AccessDeniedException", "User is not authorized to perform: logs:…"),
            Mood::Expired => return refused("ExpiredTokenException", "The security token has expired"),
            Mood::WithoutGroup => {
                return refused("ResourceNotFoundException", "The specified log group does not exist.");
            }
            Mood::Well | Mood::Silent | Mood::TooOld | Mood::Invalid => {}
        }
        let signature = request.header("authorization");
        if !signature.contains("/us-east-1/logs/aws4_request") || !signature.contains("x-amz-target") {
            self.broken_rules.push(format!("signed as {signature}"));
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        let stream = input["logStreamName"].as_str().unwrap_or_default().to_owned();
        if input["logGroupName"] != GROUP {
            return refused("ResourceNotFoundException", "The specified log group does not exist.");
        }
        match request.header(OPERATION).rsplit('.').next().unwrap_or_default() {
            "CreateLogStream" if self.streams.contains_key(&stream) => {
                refused("ResourceAlreadyExistsException", "The specified log stream already exists")
            }
            "CreateLogStream" => {
                if stream.is_empty() || stream.len() > 512 || stream.contains([':', '*']) {
                    self.broken_rules.push(format!("a stream named {stream}"));
                }
                self.streams.insert(stream, Vec::new());
                Ok(json!({}))
            }
            "PutLogEvents" => self.put(&stream, input["logEvents"].as_array().unwrap()),
            other => panic!("{other} is not simulated"),
        }
    }

    fn put(&mut self, stream: &str, events: &[Value]) -> Answer {
        let time = |event: &Value| event["timestamp"].as_u64().unwrap();
        let sizes = || events.iter().map(|event| event["message"].as_str().unwrap().len() + 26);
        for (rule, holds) in [
            ("1 to 10,000 events", (1..=10_000).contains(&events.len())),
            ("in the order of their times", events.is_sorted_by_key(time)),
            ("within 24 hours", time(&events[events.len() - 1]) - time(&events[0]) < 86_400_000),
            ("at most 1,048,576 bytes", sizes().sum::<usize>() <= 1_048_576),
            ("at most 256 KiB each", sizes().all(|size| size <= 256 * 1024)),
            ("no message is empty", sizes().all(|size| size > 26)),
        ] {
            if !holds {
                self.broken_rules.push(format!("{rule}: {} events", events.len()));
            }
        }
        if self.mood == Mood::Invalid {
            return refused("InvalidParameterException", "Log event is invalid");
        }
        let Some(kept) = self.streams.get_mut(stream) else {
            return refused("ResourceNotFoundException", "The specified log stream does not exist.");
        };
        let old = if self.mood == Mood::TooOld { 2.min(events.len()) } else { 0 };
        kept.extend_from_slice(&events[old..]);
        let info = (old > 0).then(|| json!({"tooOldLogEventEndIndex": old}));
        Ok(json!({"nextSequenceToken": "unused", "rejectedLogEventsInfo": info}))
    }
}
