//! The ways in which `serve` fails as a whole.

use std::io;
use std::net::SocketAddr;

/// The reason why `serve` did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The appliance cannot listen on the address.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The audit log cannot be written to.
    #[error("cannot open the audit log `{path}`")]
    Audit {
        /// The file.
        path: String,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The server failed as a whole.
    #[error("the server failed")]
    Server(#[source] io::Error),
}
