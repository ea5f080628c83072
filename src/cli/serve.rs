//! `appliance serve`: its options, its start, and the hints for its errors.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::builder::UnknownArgumentValueParser;
use clap::{ArgAction, ArgMatches};
use tracing::warn;

use super::command_error::{CommandError, ExitClass};
use super::options::ServeOptions;
use super::random::random;
use super::settings::Configuration;
use super::variables::UnknownVariable;
use super::{core_dumps, examples, huge_pages, settings, socket_activation, summary};
use crate::serve::{self, ServeError, ServeSettings};

/// Sign requests and forward them to managed MLflow, and serve its artifacts
#[derive(Debug, clap::Args)]
#[command(after_help = examples::SERVE)]
pub(super) struct ServeCommand {
    /// The TOML file with the options below as keys; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print help with the advanced options
    #[arg(long)]
    pub(super) help_all: bool,
    /// The name that other programs have for `--listen`.
    #[arg(long, hide = true, value_name = "PORT", value_parser = instead("--listen 127.0.0.1:PORT"))]
    port: Option<String>,
    /// The name that other programs have for a more detailed log.
    #[arg(long, short, hide = true, action = ArgAction::SetTrue, value_parser = instead("--log-filter debug"))]
    verbose: Option<String>,
    #[command(flatten)]
    options: ServeOptions,
}

/// Rejects an option, with a tip.
fn instead(option: &'static str) -> UnknownArgumentValueParser {
    UnknownArgumentValueParser::suggest_arg(option)
}

impl ServeCommand {
    /// Serves until a signal stops the process.
    pub(super) fn run(self, matches: &ArgMatches, unknown: &[UnknownVariable]) -> Result<(), CommandError> {
        huge_pages::disable();
        // Without randomness, request ids are merely less unique.
        let run = u64::from_ne_bytes(random().unwrap_or_default());
        let Configuration { settings, logging, warnings } =
            settings::read(self.config.as_deref(), self.options.locate(matches), unknown, run)
                .map_err(|problems| CommandError::configuration(&problems))?;
        let inherited = socket_activation::listeners(settings.listen)?;
        logging.start();
        for warning in warnings {
            warn!(setting = warning.origin, hint = warning.hint, "{}", warning.text);
        }
        let summary = summary::line(&settings);
        core_dumps::disable();
        let settings = ServeSettings { inherited, ..settings };
        actix_web::rt::System::new().block_on(serve::run(settings, &summary)).map_err(|error| explained(&error))
    }
}

/// The fix, as an instruction, for an address that cannot be listened on.
fn bind_hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrNotAvailable => {
            "set `--listen` or `--admin-listen` to an address of this machine, or to `0.0.0.0` for all of its addresses"
        }
        ErrorKind::PermissionDenied => {
            "choose a port from 1024 on with `--listen` or `--admin-listen`, or give the process the capability \
             CAP_NET_BIND_SERVICE"
        }
        _ => "stop the program that listens there, or choose another address with `--listen` or `--admin-listen`",
    }
}

fn explained(error: &ServeError) -> CommandError {
    let (class, hint) = match error {
        ServeError::Bind { source, .. } => (ExitClass::Configuration, bind_hint(source.kind())),
        ServeError::Audit { .. } => {
            (ExitClass::Configuration, "name a file in a writable directory with `--audit-log`")
        }
        ServeError::Server(_) => {
            (ExitClass::Failed, "start it again; if this does not help, allow it more threads, memory or open files")
        }
    };
    CommandError::new(class, error, Some(hint))
}
