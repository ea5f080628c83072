//! The errors of `bootstrap`.

use std::io;
use std::path::PathBuf;

use crate::api::imds::ImdsError;

/// The reason why the instance is not ready.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The metadata service did not answer.
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    /// The configuration is invalid.
    #[error("invalid configuration: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The parameters cannot be read.
    #[error("cannot read the parameters: {0}")]
    Parameters(String),
    /// A file of an earlier start cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write to `{}`", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A probe of AWS failed.
    #[error("{0}")]
    Probe(String),
    /// The appliance did not become ready.
    #[error("{0}")]
    Ready(String),
    /// The state of the instance, which has been printed, is not ready.
    #[error("the appliance on this instance is not ready")]
    NotReady,
    /// Bootstrap has not run, so there is no record.
    #[error("`appliance bootstrap` has not run on this instance")]
    NoRecord,
    /// At least one readiness signal was not sent.
    #[error("at least one readiness signal was not sent")]
    SignalsNotSent,
}
