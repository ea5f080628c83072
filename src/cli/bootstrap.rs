//! `appliance bootstrap`: its options, and the reader of the configuration that it finds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::command_error::{CommandError, ExitClass};
use super::examples;
use super::options::ServeOptions;
use super::output::{say, show, show_document};
use super::problems::{Problem, Problems};
use super::settings::Configuration;
use super::trust::Trust;
use super::{file, probe_settings, settings, values};
use crate::api::Transport;
use crate::api::imds;
use crate::bootstrap::install::{self, Installation};
use crate::bootstrap::{
    self, BootstrapError, BootstrapSettings, ConfigurationReader, InstanceStatus, ListenAddress, ServiceEndpoints,
    UsableConfiguration,
};
use crate::http::client::{Dialer, Endpoint};
use crate::http::tls::server::ServerTls;

const STATE: &str = "/var/lib/mlflow-appliance";
const DEFAULTS: &str = "/etc/mlflow-appliance/appliance.toml";
/// The name of the configuration in the origins of problems. The caller knows where each of its lines comes from.
const NAME: &str = "configuration";

/// Configure this EC2 instance from user data, parameters and tags; nothing in them is executed
///
/// The command writes the configuration of `appliance serve`, waits until AWS grants access, and signals a failure to CloudFormation.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::BOOTSTRAP, args_conflicts_with_subcommands = true)]
pub(super) struct Bootstrap {
    #[command(subcommand)]
    command: Option<BootstrapCommand>,
    /// Show each value with its origin, and change nothing
    #[arg(long, visible_alias = "explain")]
    dry_run: bool,
    /// With `--dry-run`: print one JSON object
    #[arg(long, requires = "dry_run")]
    json: bool,
    #[command(flatten)]
    arguments: BootstrapArguments,
}

#[derive(Debug, clap::Subcommand)]
enum BootstrapCommand {
    /// Wait until the appliance is ready, then send readiness signals to CloudFormation and Auto Scaling
    #[command(after_help = examples::BOOTSTRAP_SIGNAL)]
    Signal(BootstrapArguments),
    /// Print the state of this instance: its identity, its targets, and whether it is ready
    #[command(after_help = examples::BOOTSTRAP_STATUS)]
    Status {
        /// Print one JSON object on a line of its own
        #[arg(long)]
        json: bool,
        /// Keep running and print the state when it changes
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        arguments: BootstrapArguments,
    },
    /// Install the appliance on this machine: program, systemd units, user, default configuration
    #[command(after_help = examples::BOOTSTRAP_INSTALL)]
    Install {
        /// The source of the configuration: `instance` or `file` [default: instance on EC2, else file]
        #[arg(long, value_name = "SOURCE", value_parser = ["instance", "file"])]
        from: Option<String>,
        /// The root directory of the system, such as an image that is being built
        #[arg(long, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
        /// Also start the service
        #[arg(long)]
        start: bool,
    },
    /// Remove the files that `install` created
    #[command(after_help = examples::BOOTSTRAP_UNINSTALL)]
    Uninstall {
        /// Also remove configuration, tokens, state and your own drop-ins for the units
        #[arg(long)]
        purge: bool,
        /// The root directory of the system
        #[arg(long, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct BootstrapArguments {
    /// The directory for the configuration
    #[arg(long, default_value = STATE, env = "STATE_DIRECTORY", hide_env_values = true, value_name = "DIRECTORY")]
    state_directory: PathBuf,
    /// The file with default values
    #[arg(long, default_value = DEFAULTS, value_name = "FILE")]
    defaults: PathBuf,
    /// The longest wait for the instance metadata service [default: 1m on EC2; elsewhere one attempt]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    metadata_timeout: Option<Duration>,
    /// The longest wait for parameters, permissions and readiness
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = values::duration)]
    timeout: Duration,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Bootstrap {
    /// Runs the subcommand; without one, configures the instance.
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self.command {
            Some(BootstrapCommand::Install { from, root, start }) => {
                let from_instance = from.map_or_else(bootstrap::is_instance, |from| from == "instance");
                let program = std::env::current_exe().map_err(|error| {
                    CommandError::new(ExitClass::Failed, &error, Some("start the program by its whole path"))
                })?;
                let installation = Installation { root, program, from_instance, start };
                installed(install::install(&installation, &mut say))
            }
            Some(BootstrapCommand::Uninstall { purge, root }) => installed(install::uninstall(&root, purge, &mut say)),
            Some(BootstrapCommand::Signal(arguments)) => {
                let settings = arguments.settings()?;
                block_on(bootstrap::signal(&settings, &ServeReader, &mut say))
            }
            Some(BootstrapCommand::Status { json, watch, arguments }) => {
                let settings = arguments.settings()?;
                let mut tell = |standing: &InstanceStatus| match serde_json::to_value(standing) {
                    Ok(document) if json => show_document(&document),
                    _ => standing.lines().iter().for_each(|line| show(line)),
                };
                block_on(bootstrap::status(&settings, &ServeReader, watch, &mut tell))
            }
            None => {
                let settings = self.arguments.settings()?;
                if self.dry_run {
                    return block_on(explain(&settings, self.json));
                }
                block_on(bootstrap::run(&settings, &ServeReader, &mut say))
            }
        }
    }
}

/// Prints the configuration that would be written. With `--json`, messages go to standard error.
async fn explain(settings: &BootstrapSettings, json: bool) -> Result<(), BootstrapError> {
    let mut tell = |line: &str| if json { say(line) } else { show(line) };
    let explained = bootstrap::dry_run(settings, &ServeReader, &mut tell).await?;
    if json {
        show_document(&serde_json::json!(explained));
    } else {
        explained.lines().iter().for_each(|line| show(line));
    }
    explained.outcome
}

fn block_on(future: impl Future<Output = Result<(), BootstrapError>>) -> Result<(), CommandError> {
    actix_web::rt::System::new().block_on(future).map_err(|error| match &error {
        BootstrapError::Metadata(cause) => CommandError::new(ExitClass::Failed, &error, Some(cause.hint())),
        BootstrapError::Configuration(_) => CommandError::new(
            ExitClass::Configuration,
            &error,
            Some("correct it at its origin, then restart the instance"),
        ),
        BootstrapError::Read { .. } => CommandError::new(ExitClass::Failed, &error, Some("run it as root, with sudo")),
        BootstrapError::Write { .. } => CommandError::new(
            ExitClass::Failed,
            &error,
            Some("make room, or choose a writable directory with `--state-directory`"),
        ),
        BootstrapError::NoRecord => {
            CommandError::new(ExitClass::Failed, &error, Some("run `appliance bootstrap` first"))
        }
        BootstrapError::SignalsNotSent => CommandError::new(
            ExitClass::Failed,
            &error,
            Some("see the messages above; the instance may have no network path to the service"),
        ),
        BootstrapError::Parameters(_) => CommandError::new(
            ExitClass::Failed,
            &error,
            Some("allow `ssm:GetParametersByPath` in the policy of the instance's role"),
        ),
        BootstrapError::Probe(_) => CommandError::new(
            ExitClass::Failed,
            &error,
            Some("run `appliance check` with the configuration for details"),
        ),
        BootstrapError::Ready(_) | BootstrapError::NotReady => {
            CommandError::new(ExitClass::Failed, &error, Some("read the log: `journalctl -u mlflow-appliance`"))
        }
    })
}

fn installed(result: Result<(), install::InstallError>) -> Result<(), CommandError> {
    result.map_err(|error| CommandError::new(ExitClass::Failed, &error, Some(error.hint())))
}

impl BootstrapArguments {
    fn settings(self) -> Result<BootstrapSettings, CommandError> {
        let Trust { tls, egress } = Trust::read(self.ca_file.as_deref())?;
        let patience = if bootstrap::is_instance() { Duration::from_mins(1) } else { Duration::ZERO };
        let limit = Duration::from_secs(10);
        let metadata = metadata()?;
        let now = Instant::now();
        Ok(BootstrapSettings {
            metadata: Dialer::new(metadata.clone(), &tls, imds::CONNECT_TIMEOUT, imds::CONNECT_TIMEOUT),
            transport: Transport {
                dialer: Dialer::new(metadata, &tls, limit, limit).through(&egress.proxies),
                exchange_timeout: limit,
            },
            metadata_deadline: now + self.metadata_timeout.unwrap_or(patience),
            services: ServiceEndpoints {
                auto_scaling: probe_settings::service("AUTO_SCALING"),
                load_balancing: probe_settings::service("ELASTIC_LOAD_BALANCING_V2"),
                cloudformation: probe_settings::service("CLOUDFORMATION"),
                ssm: probe_settings::service("SSM"),
            },
            egress,
            defaults: Some(self.defaults),
            state: self.state_directory,
            units: unit_directories(),
            deadline: now + self.timeout,
        })
    }
}

/// The address of the metadata service: link-local on every instance, or the address of a variable.
fn metadata() -> Result<Endpoint, CommandError> {
    const VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    match std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        None => Ok(Endpoint { tls: false, host: imds::HOST.to_owned(), port: 80 }),
        Some(text) => values::endpoint(text.trim_end_matches('/')).map_err(|error| {
            CommandError::of(
                ExitClass::Configuration,
                &format!("{VARIABLE}: {error}"),
                Some("write `http://127.0.0.1:1338`"),
            )
        }),
    }
}

/// The directories in which systemd looks for units: those of its own variable, or of its rules.
fn unit_directories() -> Vec<PathBuf> {
    const USUAL: &str = "/etc/systemd/system:/run/systemd/system:/usr/local/lib/systemd/system:/usr/lib/systemd/system";
    let given = std::env::var("SYSTEMD_UNIT_PATH").ok().filter(|text| !text.is_empty());
    std::env::split_paths(given.as_deref().unwrap_or(USUAL)).collect()
}

/// Reads a configuration as `appliance serve --config` does.
struct ServeReader;

impl ConfigurationReader for ServeReader {
    fn read(&self, text: &str) -> Result<UsableConfiguration, Vec<(Option<usize>, String)>> {
        let mut problems = Problems::default();
        let options: ServeOptions = file::parse(text, Path::new(NAME), &mut problems);
        let Configuration { settings, .. } = settings::resolve(&options, problems, 0)
            .map_err(|problems| problems.into_iter().map(placed).collect::<Vec<_>>())?;
        Ok(UsableConfiguration {
            listen: ListenAddress {
                address: settings.listen,
                certificate: settings.tls.as_ref().and_then(ServerTls::certificate),
                requires_client_certificate: settings
                    .tls
                    .as_ref()
                    .is_some_and(ServerTls::is_client_certificate_required),
            },
            probes: probe_settings::of(&settings, false),
        })
    }
}

fn placed(problem: Problem) -> (Option<usize>, String) {
    let Problem { origin, text, hint, .. } = problem;
    let line = origin.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':')).and_then(|line| line.parse().ok());
    (line, format!("{text} (hint: {hint})"))
}
