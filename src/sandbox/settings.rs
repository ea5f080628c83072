//! The settings of the sandbox.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;

/// Everything the sandbox needs, checked.
#[derive(Debug)]
pub struct SandboxSettings {
    /// The managed MLflows that the sandbox emulates.
    pub modes: Vec<Mode>,
    /// The appliance's port for callers; its status page gets the next one.
    pub port: u16,
    /// A running MLflow to use; without one the sandbox starts one.
    pub mlflow: Option<Endpoint>,
    /// The directory for the data of MLflow; without one the data is deleted in the end.
    pub data: Option<PathBuf>,
    /// The configuration file to write, an absolute path.
    pub write_config: Option<PathBuf>,
    /// The lifetime of each set of credentials.
    pub credential_lifetime: Duration,
    /// The directory for the installation of MLflow.
    pub cache: PathBuf,
    /// The file of this program.
    pub program: PathBuf,
    /// The environment of the programs, without the variables that configure AWS, MLflow or the appliance.
    pub environment: Vec<(OsString, OsString)>,
    /// The value of `PATH`.
    pub path: OsString,
}

impl SandboxSettings {
    /// Returns the port of the status page.
    pub(super) fn status_port(&self) -> u16 {
        // The command line accepts no port without a next one.
        self.port.saturating_add(1)
    }
}
