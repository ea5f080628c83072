//! `appliance bootstrap`: its options, and how a configuration is read for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::examples;
use super::failure::{Class, Failure};
use super::options::ServeOptions;
use super::output::{say, show, show_document};
use super::problems::{Problem, Problems};
use super::trust::Trust;
use super::{file, settings, subjects, values};
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
/// What problems are called in; a line of it is known by its origin.
const NAME: &str = "configuration";

/// Configure this EC2 instance from what it knows: user data, parameters, tags; nothing is executed
///
/// Writes the configuration of `appliance serve`, waits until AWS lets it in, and tells CloudFormation if it does not.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::BOOTSTRAP, args_conflicts_with_subcommands = true)]
pub(super) struct Bootstrap {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show each value with its origin, and change nothing
    #[arg(long, visible_alias = "explain")]
    dry_run: bool,
    /// With `--dry-run`: print one JSON object
    #[arg(long, requires = "dry_run")]
    json: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Wait until the appliance is ready, then tell whoever waits for this instance
    #[command(after_help = examples::BOOTSTRAP_SIGNAL)]
    Signal(Common),
    /// Say how this instance is doing: what it is, what it serves, whether it is ready
    #[command(after_help = examples::BOOTSTRAP_STATUS)]
    Status {
        /// Print one JSON object, in a line of its own
        #[arg(long)]
        json: bool,
        /// Go on, and say it again whenever it has changed
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Put the appliance on this machine: program, systemd units, user, a default configuration
    #[command(after_help = examples::BOOTSTRAP_INSTALL)]
    Install {
        /// Where the configuration comes from: `instance` or `file` [default: instance on EC2, else file]
        #[arg(long, value_name = "WHERE", value_parser = ["instance", "file"])]
        from: Option<String>,
        /// The root of another system, such as an image that is being made
        #[arg(long, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
        /// Start it, too
        #[arg(long)]
        start: bool,
    },
    /// Remove what `install` has put there
    #[command(after_help = examples::BOOTSTRAP_UNINSTALL)]
    Uninstall {
        /// Configuration, tokens and state as well
        #[arg(long)]
        purge: bool,
        /// The root of another system
        #[arg(long, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Where the configuration is written
    #[arg(long, default_value = STATE, env = "STATE_DIRECTORY", hide_env_values = true, value_name = "DIRECTORY")]
    state_directory: PathBuf,
    /// File with values for what nobody else says
    #[arg(long, default_value = DEFAULTS, value_name = "FILE")]
    defaults: PathBuf,
    /// How long to wait for the instance metadata service [default: 1m on EC2; elsewhere it is asked once]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    metadata_timeout: Option<Duration>,
    /// How long to wait for parameters, permissions and readiness
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = values::duration)]
    timeout: Duration,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Bootstrap {
    /// Does what was asked.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Some(Action::Install { from, root, start }) => {
                let from_instance = from.map_or_else(bootstrap::is_instance, |from| from == "instance");
                let program = std::env::current_exe()
                    .map_err(|error| Failure::new(Class::Failed, &error, Some("start it by its whole path")))?;
                let installation = Installation { root, program, from_instance, start };
                installed(install::install(&installation, &mut say))?;
                say(if from_instance {
                    "next: reboot, or `systemctl start mlflow-appliance-bootstrap`"
                } else {
                    "next: name the managed MLflow in /etc/mlflow-appliance/appliance.toml, then `systemctl start mlflow-appliance`"
                });
                Ok(())
            }
            Some(Action::Uninstall { purge, root }) => installed(install::uninstall(&root, purge, &mut say)),
            Some(Action::Signal(common)) => {
                let settings = common.settings()?;
                block_on(bootstrap::signal(&settings, &Serve, &mut say))
            }
            Some(Action::Status { json, watch, common }) => {
                let settings = common.settings()?;
                let mut tell = |standing: &InstanceStatus| match serde_json::to_value(standing) {
                    Ok(document) if json => show_document(&document),
                    _ => standing.lines().iter().for_each(|line| show(line)),
                };
                block_on(bootstrap::status(&settings, &Serve, watch, &mut tell))
            }
            None => {
                let settings = self.common.settings()?;
                if self.dry_run {
                    return block_on(explain(&settings, self.json));
                }
                block_on(bootstrap::run(&settings, &Serve, &mut say))
            }
        }
    }
}

/// Shows what would be configured; in JSON, all else goes where people look.
async fn explain(settings: &BootstrapSettings, json: bool) -> Result<(), BootstrapError> {
    let mut tell = |line: &str| if json { say(line) } else { show(line) };
    let explained = bootstrap::dry_run(settings, &Serve, &mut tell).await?;
    if json {
        show_document(&serde_json::json!(explained));
    } else {
        explained.lines().iter().for_each(|line| show(line));
    }
    explained.outcome
}

fn block_on(future: impl Future<Output = Result<(), BootstrapError>>) -> Result<(), Failure> {
    actix_web::rt::System::new().block_on(future).map_err(|error| match &error {
        BootstrapError::Metadata(cause) => Failure::new(Class::Failed, &error, Some(cause.hint())),
        BootstrapError::Configuration(_) => {
            Failure::new(Class::Configuration, &error, Some("correct it where it was said, then restart the instance"))
        }
        BootstrapError::Write { .. } => Failure::new(
            Class::Failed,
            &error,
            Some("make room or make it writable; `--state-directory` names another"),
        ),
        BootstrapError::NoRecord => Failure::new(Class::Failed, &error, Some("run `appliance bootstrap` first")),
        BootstrapError::SignalsNotSent => {
            Failure::new(Class::Failed, &error, Some("see above; the instance may need a way to the service"))
        }
        BootstrapError::Parameters(_) => {
            Failure::new(Class::Failed, &error, Some("let the instance's role read them: `ssm:GetParametersByPath`"))
        }
        BootstrapError::Probe(_) => {
            Failure::new(Class::Failed, &error, Some("`appliance check`, with the configuration, has more"))
        }
        BootstrapError::Ready(_) => {
            Failure::new(Class::Failed, &error, Some("look into the log: `journalctl -u mlflow-appliance`"))
        }
    })
}

fn installed(result: Result<(), install::InstallError>) -> Result<(), Failure> {
    result.map_err(|error| Failure::new(Class::Failed, &error, Some(error.hint())))
}

impl Common {
    fn settings(self) -> Result<BootstrapSettings, Failure> {
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
                auto_scaling: subjects::service("AUTO_SCALING"),
                load_balancing: subjects::service("ELASTIC_LOAD_BALANCING_V2"),
                cloudformation: subjects::service("CLOUDFORMATION"),
                ssm: subjects::service("SSM"),
            },
            egress,
            defaults: Some(self.defaults),
            state: self.state_directory,
            deadline: now + self.timeout,
        })
    }
}

/// Where the metadata service is: link-local on every instance, elsewhere only if somebody says so.
fn metadata() -> Result<Endpoint, Failure> {
    const VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    match std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        None => Ok(Endpoint { tls: false, host: imds::HOST.to_owned(), port: 80 }),
        Some(text) => values::endpoint(text.trim_end_matches('/')).map_err(|error| {
            Failure::said(Class::Configuration, &format!("{VARIABLE}: {error}"), Some("write `http://127.0.0.1:1338`"))
        }),
    }
}

/// Reads a configuration as `appliance serve --config` does.
struct Serve;

impl ConfigurationReader for Serve {
    fn read(&self, text: &str) -> Result<UsableConfiguration, Vec<(Option<usize>, String)>> {
        let mut problems = Problems::default();
        let options: ServeOptions = file::parse(text, Path::new(NAME), &mut problems);
        let (settings, _) = settings::resolve(&options, problems, 0)
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
            probes: subjects::of(&settings, false),
        })
    }
}

fn placed(problem: Problem) -> (Option<usize>, String) {
    let Problem { place, what, fix, .. } = problem;
    match place.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':')).and_then(|line| line.parse().ok()) {
        Some(line) => (Some(line), format!("{what} (fix: {fix})")),
        None => (None, format!("{what} (fix: {fix})")),
    }
}
