//! The command line: the only part that knows clap, the environment, the terminal and exit codes.

#[cfg(feature = "assumptions")]
mod assumptions;
mod aws_connection;
mod aws_identities;
mod bodies;
mod bootstrap;
mod callers;
mod check;
mod chosen_options;
mod columns;
mod command_error;
#[cfg(any(feature = "assumptions", feature = "deploy"))]
mod consent;
mod core_dumps;
#[cfg(feature = "deploy")]
mod deploy;
mod examples;
mod file;
#[cfg(feature = "generate")]
mod generate;
mod healthcheck;
mod host_name;
mod huge_pages;
mod init;
mod issuers;
mod known_targets;
mod known_values;
mod listener;
mod log_export;
mod logging;
mod login;
#[cfg(feature = "generate")]
mod man;
mod oidc;
mod one_target;
mod opener;
mod options;
mod output;
mod personal_tokens;
mod policy;
mod probe_settings;
mod problems;
mod proxies;
mod random;
mod rights;
#[cfg(feature = "sandbox")]
mod sandbox;
mod secrets;
mod serve;
mod sessions;
mod settings;
mod sign_on;
mod socket_activation;
mod summary;
mod targets;
mod telemetry;
mod token;
mod token_aws;
mod token_place;
mod trust;
mod ui;
mod values;
mod variables;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::command_error::CommandError;
use self::options::show_advanced;

/// Use Amazon SageMaker managed MLflow from anywhere, with any HTTP client and no AWS credentials
#[derive(Debug, Parser)]
#[command(name = "appliance", version, propagate_version = true, after_help = examples::appliance())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitCommand),
    Targets(known_targets::TargetsCommand),
    Serve(Box<serve::ServeCommand>),
    Check(Box<check::Check>),
    #[cfg(feature = "assumptions")]
    Assumptions(Box<assumptions::Assumptions>),
    Healthcheck(healthcheck::Healthcheck),
    Ui(Box<ui::Ui>),
    Bootstrap(bootstrap::Bootstrap),
    #[cfg(feature = "deploy")]
    Deploy(deploy::Deploy),
    #[command(subcommand)]
    Token(token::Token),
    Login(login::Login),
    Logout(login::Logout),
    Policy(policy::PolicyCommand),
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Sandbox),
    #[cfg(feature = "generate")]
    #[command(subcommand)]
    Generate(generate::Generate),
}

/// All commands and options. Tests check documents against it.
#[must_use]
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// Runs the program.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = grammar().get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (name, matches) = matches.subcommand().expect("clap requires one");
    let is_help_wanted = match &cli.command {
        Command::Serve(command) => command.help_all,
        Command::Check(command) => command.help_all,
        _ => false,
    };
    if is_help_wanted {
        // This prints the help and exits.
        grammar().mut_subcommand(name, show_advanced).get_matches_from(["appliance", name, "--help"]);
    }
    let unknown = variables::unknown(&grammar());
    let checked = || variables::checked(&unknown).map_err(|problems| CommandError::configuration(&problems));
    let result = match cli.command {
        Command::Init(command) => command.run(),
        Command::Targets(command) => command.run(),
        Command::Serve(command) => command.run(matches, &unknown),
        Command::Check(command) => command.run(matches, &unknown),
        #[cfg(feature = "assumptions")]
        Command::Assumptions(command) => command.run(matches, &unknown),
        Command::Healthcheck(command) => command.run(),
        Command::Ui(command) => command.run(matches, &unknown),
        Command::Bootstrap(command) => checked().and_then(|()| command.run()),
        #[cfg(feature = "deploy")]
        Command::Deploy(command) => checked().and_then(|()| command.run()),
        Command::Token(command) => command.run(),
        Command::Login(command) => checked().and_then(|()| command.run()),
        Command::Logout(command) => checked().and_then(|()| command.run()),
        Command::Policy(command) => command.run(),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(command) => checked().and_then(|()| command.run(std::env::vars_os())),
        #[cfg(feature = "generate")]
        Command::Generate(command) => command.run(grammar()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            error.class.exit_code()
        }
    }
}
