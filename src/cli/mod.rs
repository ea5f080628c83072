//! The command line: the only place that knows clap, the environment, the terminal and exit codes.

mod bootstrap;
mod callers;
mod check;
mod colour;
#[cfg(feature = "deploy")]
mod deploy;
mod examples;
mod failure;
mod file;
#[cfg(feature = "generate")]
mod generate;
mod harden;
mod inherited;
mod logging;
mod memory;
mod options;
mod output;
mod problems;
mod proxies;
#[cfg(feature = "sandbox")]
mod sandbox;
mod settings;
mod subjects;
mod targets;
mod telemetry;
mod token;
mod trust;
mod ui;
mod values;
mod variables;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::warn;

use self::failure::{Class, Failure};
use self::options::ServeOptions;
use crate::serve::{self, ServeError};

/// Use Amazon SageMaker managed MLflow from anywhere, with any HTTP client and no AWS credentials
#[derive(Debug, Parser)]
#[command(name = "appliance", version, propagate_version = true, after_help = examples::appliance())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<Serve>),
    Check(Box<check::Check>),
    Ui(Box<ui::Ui>),
    Bootstrap(bootstrap::Bootstrap),
    #[cfg(feature = "deploy")]
    Deploy(deploy::Deploy),
    #[command(subcommand)]
    Token(token::Token),
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Sandbox),
    #[cfg(feature = "generate")]
    #[command(subcommand)]
    Generate(generate::Generate),
}

/// Sign requests and pass them to managed MLflow, and serve its artifacts
#[derive(Debug, clap::Args)]
#[command(after_help = examples::SERVE)]
struct Serve {
    /// TOML file with the options below as keys; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: ServeOptions,
}

/// The commands and options that exist, by which tests judge what pages say.
#[must_use]
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// Runs the program.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = Cli::command().get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (_, matches) = matches.subcommand().expect("clap requires one");
    let result = match cli.command {
        Command::Serve(command) => serve(command.config.as_deref(), command.options.locate(matches)),
        Command::Check(command) => command.run(matches),
        Command::Ui(command) => command.run(matches),
        Command::Bootstrap(command) => known_variables().and_then(|()| command.run()),
        #[cfg(feature = "deploy")]
        Command::Deploy(command) => known_variables().and_then(|()| command.run()),
        Command::Token(command) => command.run(),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(command) => known_variables().and_then(|()| command.run(std::env::vars_os())),
        #[cfg(feature = "generate")]
        Command::Generate(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.class.exit_code()
        }
    }
}

/// Commands that read a configuration report such variables with all else that is wrong there.
fn known_variables() -> Result<(), Failure> {
    variables::checked().map_err(|problems| Failure::configuration(&problems))
}

fn serve(config: Option<&Path>, flags: ServeOptions) -> Result<(), Failure> {
    memory::in_small_pages();
    // Without randomness request ids are merely less unique.
    let run = u64::from_ne_bytes(random().unwrap_or_default());
    let (settings, logging) =
        settings::read(config, flags, run).map_err(|problems| Failure::configuration(&problems))?;
    let settings = serve::ServeSettings { inherited: inherited::listeners(settings.listen)?, ..settings };
    logging.start();
    for unknown in variables::unknown() {
        let hint = "remove it, or see `appliance serve --help` for all variables";
        warn!(variable = unknown.name, hint, "this variable means nothing to the appliance");
    }
    harden::against_dumps();
    actix_web::rt::System::new().block_on(serve::run(settings)).map_err(|error| match &error {
        ServeError::Bind { .. } => Failure::new(
            Class::Configuration,
            &error,
            Some("stop what listens there, or choose another address with `--listen` or `--admin-listen`"),
        ),
        ServeError::Audit(_) => {
            Failure::new(Class::Configuration, &error, Some("name a file in a writable directory with `--audit-log`"))
        }
        ServeError::Server(_) => Failure::new(
            Class::Failed,
            &error,
            Some("start it again; if that is no help, let it have more threads, memory or open files"),
        ),
    })
}

/// From the operating system, through ring; nothing if it has none to give.
fn random<const N: usize>() -> Option<[u8; N]> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}
