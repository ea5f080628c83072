//! The errors of the sandbox as a whole.

use std::io;
use std::path::PathBuf;

use super::certificates::CertificateError;
use super::mlflow::MlflowInstallError;
use super::space::{FULL, NoSpaceError};
use crate::access::token::NoRandomness;
use crate::http::tls::TrustError;

/// The reason why the sandbox did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no MLflow.
    #[error(transparent)]
    Install(#[from] MlflowInstallError),
    /// A port is taken.
    #[error("cannot listen on port {port}")]
    Port {
        /// The port.
        port: u16,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make certificates")]
    Certificates(#[from] CertificateError),
    /// The certificates could not be read back.
    #[error("cannot use certificates")]
    Trust(#[from] TrustError),
    /// A program ended, or did not become ready.
    #[error("{name} {what}; the end of its log:\n{log_end}")]
    Program {
        /// The name of the program.
        name: String,
        /// The event, such as `ended`.
        what: String,
        /// The end of its log, which is deleted with the sandbox.
        log_end: String,
    },
    /// No MLflow server answers at the URL of `--mlflow-url`.
    #[error("there is no MLflow server at {url}: {what}")]
    NoMlflow {
        /// The URL.
        url: String,
        /// The answer or the failure that was seen instead.
        what: String,
    },
    /// A file of `--write-config` exists already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file of `--write-config` cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A disk is nearly full.
    #[error(transparent)]
    Space(#[from] NoSpaceError),
    /// No tokens could be made.
    #[error("cannot make tokens")]
    Randomness(#[from] NoRandomness),
    /// An operation of the system failed.
    #[error("{step} failed")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

/// The name of the MLflow server in messages.
pub(super) const MLFLOW_SERVER: &str = "mlflow server";

impl SandboxError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Install(error) => error.hint(),
            Self::Port { .. } => {
                "stop what listens there, or choose another port with `--port`; the status page gets the next one".to_owned()
            }
            Self::Exists { .. } => {
                "remove it if you no longer need it, or choose another name: the sandbox overwrites no file".to_owned()
            }
            Self::Write { .. } => "choose a file in a writable directory with `--write-config`".to_owned(),
            Self::Space(_) => ROOM.to_owned(),
            Self::Randomness(_) => "try again; if it fails again, read the log of the system's kernel".to_owned(),
            Self::NoMlflow { .. } => {
                "start it (`mlflow server`), correct `--mlflow-url`, or leave that out: then the sandbox starts one".to_owned()
            }
            Self::Program { log_end, .. } if log_end.contains(FULL) => ROOM.to_owned(),
            Self::Program { name, .. } if name == MLFLOW_SERVER => {
                "the MLflow named above does not run here, and its log says why: repair its environment (`pip install --upgrade \
                 mlflow`, for example), take it off the PATH so that the sandbox installs its own, or use a running server \
                 with `--mlflow-url`"
                    .to_owned()
            }
            Self::Program { .. } => "read the end of its log above; the cause is named there".to_owned(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ROOM.to_owned(),
                _ => "make this program's file, `--data-dir` and the temporary directory (TMPDIR) usable".to_owned(),
            },
            Self::Certificates(_) | Self::Trust(_) => "this is a defect of the appliance; please report it".to_owned(),
        }
    }
}

const ROOM: &str = "make room on the disk of the temporary directory (TMPDIR) and of `--data-dir`";

pub(super) fn io_error(step: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Io { step, source }
}
