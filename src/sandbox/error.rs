//! What can go wrong in the sandbox as a whole.

use std::io;

use super::certificates::CertificateError;
use super::mlflow::InstallError;
use crate::http::tls::TrustError;

/// Why the sandbox did not come up, or went down.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no MLflow.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A port is taken.
    #[error("cannot listen on port {port}")]
    Port {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make certificates")]
    Certificates(#[from] CertificateError),
    /// The certificates could not be read back.
    #[error("cannot use certificates")]
    Trust(#[from] TrustError),
    /// A program ended although it should not have, or did not become ready.
    #[error("{name} {what}; the end of its log:\n{last_words}")]
    Program {
        /// Which one.
        name: String,
        /// What it did.
        what: String,
        /// The end of its log, which is thrown away with the sandbox.
        last_words: String,
    },
    /// Something the system refused.
    #[error("{step} failed")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn io_error(step: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Io { step, source }
}
