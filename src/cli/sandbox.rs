//! `appliance sandbox`: its options and its output.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::command_error::{Class, CommandError};
use super::examples;
use super::output::{one_line, say, shell_word, show, show_document};
use super::values;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::sandbox::{
    self, MLFLOW_VERSION, ROLE_ARN, Ready, Reporter, RunningAppliance, SandboxError, SandboxSettings,
};

/// Try everything on this machine, with a real MLflow and no AWS account
///
/// Starts an MLflow server: the one on the PATH, or one that is installed once into your cache directory. In front of it
/// runs an endpoint that checks every signature as AWS does, and in front of that the appliance.
#[derive(Args, Debug)]
#[command(after_help = examples::SANDBOX)]
pub(super) struct Sandbox {
    /// The kind of managed MLflow to simulate
    #[arg(long, value_enum, default_value = "both", env = "APPLIANCE_SANDBOX_MODE", hide_env_values = true)]
    mode: ModeOption,
    /// The port of the appliance; with both modes, the app gets the next one
    #[arg(long, value_name = "PORT", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// Use this running MLflow server instead of starting one
    #[arg(long, value_name = "URL", value_parser = values::endpoint, conflicts_with = "data_dir")]
    mlflow_url: Option<Endpoint>,
    /// Keep MLflow's data in this directory instead of deleting it at the end
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
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
    /// Both, side by side, in front of one MLflow
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
            CommandError::new(Class::Failed, &error, Some("cannot find the file of this program; start it by its path"))
        })?;
        let settings = SandboxSettings {
            modes: match self.mode {
                ModeOption::Tracking => vec![Mode::TrackingServer],
                ModeOption::Serverless => vec![Mode::App],
                ModeOption::Both => vec![Mode::TrackingServer, Mode::App],
            },
            port: self.port,
            mlflow: self.mlflow_url,
            data: self.data_dir.map(|path| std::path::absolute(&path).unwrap_or(path)),
            credential_lifetime: self.credential_lifetime,
            cache,
            program,
            path: variable("PATH").unwrap_or_default(),
            environment: environment.into_iter().filter(|(key, _)| !configures_something(key)).collect(),
        };
        let screen = Screen { json: self.json, spinner: RefCell::default() };
        actix_web::rt::System::new().block_on(sandbox::run(settings, &screen)).map_err(|error| explain(&error))
    }
}

/// True for variables that must not leak into the sandbox's programs.
fn configures_something(key: &OsString) -> bool {
    const PREFIXES: [&str; 4] = ["AWS_", "MLFLOW_", "SM_MLFLOW_", "APPLIANCE_"];
    PREFIXES.iter().any(|prefix| key.to_string_lossy().starts_with(prefix))
}

fn explain(error: &SandboxError) -> CommandError {
    let class = match error {
        SandboxError::Port { .. } | SandboxError::NoMlflow { .. } => Class::Configuration,
        _ => Class::Failed,
    };
    CommandError::new(class, error, Some(&error.hint()))
}

/// Prints steps to standard error and the result to standard output.
struct Screen {
    json: bool,
    spinner: RefCell<Option<ProgressBar>>,
}

impl Reporter for Screen {
    fn step(&self, text: &str) {
        say(text);
    }

    fn progress(&self, line: &str) {
        let mut spinner = self.spinner.borrow_mut();
        if line.is_empty() {
            if let Some(spinner) = spinner.take() {
                spinner.finish_and_clear();
            }
            return;
        }
        let spinner = spinner.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("  {spinner} {elapsed} {wide_msg}").expect("a valid template");
            ProgressBar::new_spinner().with_style(style)
        });
        // The spinner is hidden if standard error is no terminal. Each line is then printed.
        if spinner.is_hidden() {
            say(&format!("  {line}"));
        } else {
            spinner.set_message(one_line(line));
            spinner.tick();
        }
    }

    fn ready(&self, ready: &Ready) {
        if self.json {
            show_document(&as_json(ready));
        } else {
            show(&banner(ready));
        }
    }

    fn stopped(&self, doors: &[(Mode, u64, u64)], (verified, refused): (u64, u64)) {
        for (mode, verified, refused) in doors {
            say(&format!("{}: {verified} signatures verified, {refused} requests rejected", name(*mode)));
        }
        say(&format!("artifacts: {verified} signatures verified, {refused} requests rejected"));
    }
}

/// The addresses as JSON, for scripts, and for tests of other signers at the endpoints.
fn as_json(ready: &Ready) -> serde_json::Value {
    let by_mode = |value: fn(&RunningAppliance) -> &str| -> serde_json::Map<_, _> {
        ready.appliances.iter().map(|one| (name(one.target.arn().mode()).to_owned(), json!(value(one)))).collect()
    };
    json!({
        "appliances": by_mode(|one| &one.url),
        "front_doors": by_mode(|one| &one.endpoint),
        "arns": by_mode(|one| one.target.arn().as_str()),
        "role_arn": ROLE_ARN,
        "sts": ready.sts,
        "imds": ready.imds,
        "sagemaker": ready.sagemaker,
        "s3": ready.s3,
        "authority": ready.authority,
        "mlflow": ready.mlflow,
        "logs": ready.logs,
    })
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::TrackingServer => "tracking",
        Mode::App => "serverless",
    }
}

/// The next steps for a person, ready to be copied.
fn banner(ready: &Ready) -> String {
    let url = &ready.appliances[0].url;
    // A shell reads these lines, and the path of a cache directory may contain spaces.
    let export = format!("export MLFLOW_TRACKING_URI={}", shell_word(url));
    let python = ready.python.as_ref().map_or("python".to_owned(), |python| shell_word(&python.display().to_string()));
    let line = |one: &RunningAppliance| format!("  {:<11} {}\n", name(one.target.arn().mode()), one.url);
    let appliances: String = ready.appliances.iter().map(line).collect();
    let note = if ready.appliances.len() > 1 { "  (both in front of one MLflow)\n" } else { "" };
    format!(
        "
The sandbox is ready after {took} s. The appliance signs each request, an endpoint checks the signature
as AWS does, and a real MLflow answers.

{appliances}{note}
Python  (client: pip install mlflow=={MLFLOW_VERSION})
  {export}
  {python} -c \"import mlflow; mlflow.set_experiment('hello'); mlflow.log_metric('accuracy', 0.9)\"

curl
  curl '{url}/api/2.0/mlflow/experiments/search?max_results=10'

Browser
  {url}/

The AWS credentials are simulated, expire after {lifetime} and are renewed automatically. Logs: {logs}
Ctrl-C stops everything.",
        took = ready.took.as_secs(),
        lifetime = humantime::format_duration(ready.credential_lifetime),
        logs = ready.logs.display(),
    )
}
