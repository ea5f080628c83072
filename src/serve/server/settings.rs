//! The settings of a server.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Extensions;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

/// The limits of a server's threads and connections.
#[derive(Clone, Copy)]
pub struct ServerLimits {
    /// The number of threads.
    pub threads: NonZeroUsize,
    /// The maximum number of connections of each thread; further connections wait in the kernel.
    pub connection_limit: usize,
    /// The maximum time that a connection may be idle.
    pub keep_alive: Duration,
    /// The maximum time for the head of a request. For later requests on a connection, it adds to `keep_alive`.
    pub head_timeout: Duration,
    /// The maximum time that a client may read nothing of a response.
    pub send_timeout: Duration,
}

/// The settings of a server.
#[derive(Clone)]
pub(crate) struct ServerSettings {
    /// The name of its threads.
    pub name: &'static str,
    pub limits: ServerLimits,
    /// The configuration of TLS, if the listener uses it.
    pub tls: Option<Arc<ServerConfig>>,
    /// Notes the certificates that a client has presented.
    pub note: fn(&[CertificateDer<'_>], &mut Extensions),
}
