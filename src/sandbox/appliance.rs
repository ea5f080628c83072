//! The appliance of the sandbox: the program itself, as a process with a configuration file.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::client::until_answering;
use super::configuration::ApplianceFile;
use super::error::{SandboxError, io_error};
use super::process::ManagedProcess;
use super::services::SandboxServices;
use super::settings::SandboxSettings;
use crate::access::tokens::Tokens;
use crate::http::client::Endpoint;

/// The appliance has to obtain credentials first; that is a matter of milliseconds here.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The name of the program in messages, and of its files.
const NAME: &str = "appliance";

/// Starts the program. The caller keeps it, also if it does not become ready.
pub(super) fn start(
    settings: &SandboxSettings,
    directory: &Path,
    services: &SandboxServices,
    tokens: &Tokens,
) -> Result<ManagedProcess, SandboxError> {
    let token_file = directory.join("tokens.toml");
    let file = ApplianceFile {
        heading: String::new(),
        port: settings.port,
        status_port: settings.status_port(),
        tokens: &token_file,
        is_open: true,
    };
    let configuration = directory.join("appliance.toml");
    let writing = "writing the configuration of the appliance";
    std::fs::write(&token_file, tokens.to_string()).map_err(io_error(writing))?;
    std::fs::write(&configuration, file.text(services)?).map_err(io_error(writing))?;
    let mut command = Command::new(&settings.program);
    command.args(["serve", "--config"]).arg(configuration);
    command.env_clear().envs(settings.environment.iter().cloned()).envs(services.environment());
    ManagedProcess::start(NAME, command, directory.join("appliance.log")).map_err(io_error("starting the appliance"))
}

/// Waits until it is ready for requests to all targets.
pub(super) async fn until_ready(program: &mut ManagedProcess, port: u16) -> Result<(), SandboxError> {
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
    until_answering(program, &endpoint, "/_appliance/readyz", START_LIMIT).await
}
