//! `appliance sandbox`: its options.

mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::command_error::{CommandError, ExitClass};
use super::examples;
use super::values;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::sandbox::{self, SandboxError, SandboxSettings};

/// Try everything on this machine, with a real MLflow and no AWS account
///
/// The command starts an MLflow server, an endpoint in front of it that checks every signature as AWS does, and the appliance in
/// front of that endpoint. The appliance serves a tracking server at `/` and a serverless app at `/t/serverless`. Requests need no
/// token; the command prints a token for each role, to try roles, the sign-in page and the status page.
///
/// This takes 10 seconds if `mlflow` is on the PATH. Otherwise it first installs MLflow into your cache directory, which downloads
/// about 210 MB once, needs 900 MB on the disk, and takes 1 to 5 minutes on two cores.
#[derive(Args, Debug)]
#[command(after_help = examples::SANDBOX)]
pub(super) struct Sandbox {
    /// The kind of managed MLflow to simulate
    #[arg(long, value_enum, default_value = "both", env = "APPLIANCE_SANDBOX_MODE", hide_env_values = true)]
    mode: ModeOption,
    /// The port of the appliance; its status page gets the next one
    #[arg(long, value_name = "PORT", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// Use this running MLflow server instead of starting one
    #[arg(long, value_name = "URL", value_parser = values::endpoint, conflicts_with = "data_dir")]
    mlflow_url: Option<Endpoint>,
    /// Keep MLflow's data in this directory instead of deleting it at the end
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Write a configuration file with which `appliance serve` runs against the sandbox
    ///
    /// A token file is written beside it, and a command that starts it is printed. Existing files are not overwritten.
    #[arg(long, value_name = "FILE")]
    write_config: Option<PathBuf>,
    /// The lifetime of each set of simulated AWS credentials
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    credential_lifetime: Duration,
    /// Print one line of JSON instead of text once everything is ready
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeOption {
    /// A tracking server
    Tracking,
    /// A serverless app
    Serverless,
    /// Both in front of one MLflow, the app at `/t/serverless`
    Both,
}

impl Sandbox {
    /// Runs the sandbox until Ctrl-C. `environment` is that of this process.
    pub(super) fn run(self, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<(), CommandError> {
        let environment: Vec<_> = environment.collect();
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let cache = variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&variable("HOME")?).join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("appliance");
        let program = std::env::current_exe().map_err(|error| {
            CommandError::new(
                ExitClass::Failed,
                &error,
                Some("cannot find the file of this program; start it by its path"),
            )
        })?;
        let settings = SandboxSettings {
            modes: match self.mode {
                ModeOption::Tracking => vec![Mode::TrackingServer],
                ModeOption::Serverless => vec![Mode::App],
                ModeOption::Both => vec![Mode::TrackingServer, Mode::App],
            },
            port: self.port,
            mlflow: self.mlflow_url,
            data: self.data_dir.map(absolute),
            write_config: self.write_config.map(absolute),
            credential_lifetime: self.credential_lifetime,
            cache,
            program,
            path: variable("PATH").unwrap_or_default(),
            environment: environment.into_iter().filter(|(key, _)| !configures_something(key)).collect(),
        };
        let screen = report::Screen::new(self.json);
        actix_web::rt::System::new().block_on(sandbox::run(settings, &screen)).map_err(|error| explain(&error))
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// True for variables that must not leak into the sandbox's programs.
fn configures_something(key: &OsString) -> bool {
    const PREFIXES: [&str; 4] = ["AWS_", "MLFLOW_", "SM_MLFLOW_", "APPLIANCE_"];
    PREFIXES.iter().any(|prefix| key.to_string_lossy().starts_with(prefix))
}

fn explain(error: &SandboxError) -> CommandError {
    let class = match error {
        SandboxError::Port { .. }
        | SandboxError::NoMlflow { .. }
        | SandboxError::Exists { .. }
        | SandboxError::Write { .. } => ExitClass::Configuration,
        _ => ExitClass::Failed,
    };
    CommandError::new(class, error, Some(&error.hint()))
}
