//! Log lines on standard error, for people or for machines, and a copy of each for CloudWatch Logs.

use std::io::{self, Stderr, Write};
use std::str::FromStr;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::output::is_coloured;
use crate::serve::LogQueue;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// Lines for people, with colours on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("not a log format".into()),
        }
    }
}

/// Checked logging settings.
#[derive(Debug)]
pub(super) struct Logging {
    format: LogFormat,
    filter: EnvFilter,
    export: Option<Arc<LogQueue>>,
}

/// The filter for one level: the appliance's own lines at that level, those of libraries only as warnings.
///
/// Some libraries log nothing at all: the appliance reports the same failures itself, or they are no failures.
fn own(level: &str) -> String {
    format!("warn,appliance={level},access={level},actix_http=off,actix_server=off")
}

/// True for lines that may be printed, whatever the filter says: all of our own, and the warnings of libraries.
///
/// SECURITY: libraries do not know what is secret. Below warnings, those of the AWS SDK and of HTTP print requests and
/// responses with their tokens, signatures and credentials. `aws_config` does so even in warnings, when it cannot read an
/// response, so none of its lines is printed.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_of = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    is_of("appliance") || is_of("access") || (*metadata.level() <= Level::WARN && !is_of("aws_config"))
}

impl Logging {
    /// Logging in `format`, of the lines that `filter` selects.
    #[must_use]
    pub(super) fn new(format: LogFormat, filter: Option<EnvFilter>) -> Self {
        Self { format, filter: filter.unwrap_or_else(|| EnvFilter::new(own("info"))), export: None }
    }

    /// Returns the same logging, which puts a copy of each line into this queue.
    #[must_use]
    pub(super) fn exported(self, export: Option<Arc<LogQueue>>) -> Self {
        Self { export, ..self }
    }

    /// Reads a filter. A bare level means the appliance's own lines, not those of every library.
    ///
    /// # Errors
    /// The filter cannot be parsed; the text says why.
    pub(super) fn parse_filter(text: &str) -> Result<EnvFilter, String> {
        let filter = match text {
            "off" | "error" | "warn" | "info" | "debug" | "trace" => own(text),
            _ => text.to_owned(),
        };
        EnvFilter::builder().parse(filter).map_err(|error| format!("not a log filter ({error})"))
    }

    /// Starts logging for the rest of the process. Call once.
    pub(super) fn start(self) {
        // journald adds the time itself and shows escape sequences as they are.
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        // CloudWatch shows escape sequences as they are, too.
        let is_coloured = !journal && self.export.is_none() && is_coloured(&io::stderr());
        let base = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(LogOutput(self.export))
            .with_span_events(FmtSpan::NONE)
            .with_ansi(is_coloured);
        let discretion = filter_fn(is_discreet);
        match (self.format, journal) {
            (LogFormat::Json, _) => base.json().flatten_event(true).finish().with(discretion).init(),
            (LogFormat::Text, true) => base.without_time().finish().with(discretion).init(),
            (LogFormat::Text, false) => base.finish().with(discretion).init(),
        }
        // Otherwise a panic would be plain text among lines of JSON. A request that panics ends its connection only.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, panic = panic.payload_as_str(), "a part of the program failed unexpectedly");
        }));
    }
}

/// Standard error, and the queue that gets a copy of each line.
struct LogOutput(Option<Arc<LogQueue>>);

/// The writer of one line.
struct LineWriter<'a> {
    stderr: Stderr,
    export: Option<&'a LogQueue>,
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { stderr: io::stderr(), export: self.0.as_deref() }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    /// Writes a whole line, as the subscriber does with each event.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(export) = self.export {
            export.record(line);
        }
        self.stderr.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}
