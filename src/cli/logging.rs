//! Where log lines go and how they look: standard error, for people or for machines.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::colour;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// One line for people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
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
    format: Format,
    filter: EnvFilter,
}

/// The filter for one level: the appliance's own lines at that level, those of libraries only as warnings.
///
/// Some libraries say nothing at all: what they would report we report in our own words, or it is no failure.
/// SECURITY: `aws_config` prints whole responses when it cannot read them, credentials included.
fn own(level: &str) -> String {
    format!("warn,appliance={level},access={level},actix_http=off,actix_server=off,aws_config=off")
}

impl Logging {
    /// Logging in `format`, of what `filter` lets through.
    #[must_use]
    pub(super) fn new(format: Format, filter: Option<EnvFilter>) -> Self {
        Self { format, filter: filter.unwrap_or_else(|| EnvFilter::new(own("info"))) }
    }

    /// Reads a filter. A bare level means the appliance's own lines, not those of every library.
    ///
    /// # Errors
    /// What is wrong with it.
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
        let base = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(std::io::stderr)
            .with_span_events(FmtSpan::NONE)
            .with_ansi(!journal && colour::is_wanted(&std::io::stderr()));
        match (self.format, journal) {
            (Format::Json, _) => base.json().flatten_event(true).init(),
            (Format::Text, true) => base.without_time().init(),
            (Format::Text, false) => base.init(),
        }
        // Otherwise a panic would be plain text among lines of JSON. A request that panics ends its connection only.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, panic = panic.payload_as_str(), "a part of the program failed unexpectedly");
        }));
    }
}
