//! Where log lines go and how they look: standard error, for people or for machines.

use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    /// The places of options that have no effect any more.
    ignored: Vec<String>,
}

/// The filter for one level: the appliance's own lines at that level, those of libraries only as warnings.
///
/// Some libraries say nothing at all: what they would report we report in our own words, or it is no failure.
fn own(level: &str) -> String {
    format!("warn,appliance={level},access={level},actix_http=off,actix_server=off")
}

/// True for lines that may be printed, whatever the filter asks for: all of our own, and the warnings of libraries.
///
/// SECURITY: libraries do not know what is secret. Below warnings, those of the AWS SDK and of HTTP print requests and
/// responses with their tokens, signatures and credentials. `aws_config` does so even in warnings, when it cannot read an
/// answer, so nothing of it is printed at all.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_of = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    is_of("appliance") || is_of("access") || (*metadata.level() <= Level::WARN && !is_of("aws_config"))
}

impl Logging {
    /// Logging in `format`, of what `filter` lets through. At its start it warns of the `ignored` options.
    #[must_use]
    pub(super) fn new(format: Format, filter: Option<EnvFilter>, ignored: Vec<String>) -> Self {
        Self { format, filter: filter.unwrap_or_else(|| EnvFilter::new(own("info"))), ignored }
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
        let discretion = filter_fn(is_discreet);
        match (self.format, journal) {
            (Format::Json, _) => base.json().flatten_event(true).finish().with(discretion).init(),
            (Format::Text, true) => base.without_time().finish().with(discretion).init(),
            (Format::Text, false) => base.finish().with(discretion).init(),
        }
        for place in self.ignored {
            let hint = "remove it; the admin listener serves the metrics at `/metrics`";
            tracing::warn!(place, hint, "`metrics-emf` has no effect any more");
        }
        // Otherwise a panic would be plain text among lines of JSON. A request that panics ends its connection only.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, panic = panic.payload_as_str(), "a part of the program failed unexpectedly");
        }));
    }
}
