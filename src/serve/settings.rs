//! The checked settings of `serve`, and the ways in which it fails as a whole.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::aws::sdk::Egress;
use crate::http::body::Intake;
use crate::http::tls::server::ServerTls;
use crate::serve::admin::settings::AdminSettings;
use crate::serve::auth::CallerSettings;
use crate::serve::auth::browser::AllowedHosts;
use crate::serve::telemetry::audit::AuditSink;
use crate::serve::telemetry::spans::SpanSettings;
use crate::serve::upstream::backend::TargetSettings;

/// Everything that `serve` needs.
pub struct ServeSettings {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Sockets that listen already, from systemd; without any, `listen` is bound.
    pub inherited: Vec<TcpListener>,
    /// How TLS is spoken there, if it is.
    pub tls: Option<ServerTls>,
    /// Names that callers may use for it.
    pub allowed_hosts: AllowedHosts,
    /// Threads that handle requests.
    pub workers: NonZeroUsize,
    /// Callers' connections per worker; more wait in the kernel.
    pub connection_limit: usize,
    /// How long an idle connection of a caller is kept.
    pub keep_alive: Duration,
    /// How long a caller may take to send the head of a request; of a later one on a connection, beyond `keep_alive`.
    pub head_timeout: Duration,
    /// How long a caller may take nothing of an answer.
    pub send_timeout: Duration,
    /// How long running requests may take after a signal to stop.
    pub drain_timeout: Duration,
    /// The managed MLflows, at least one.
    pub backends: Vec<TargetSettings>,
    /// Who is let in, and to what.
    pub callers: CallerSettings,
    /// How often tokens and certificates are read again.
    pub reload_interval: Duration,
    /// Where requests are recorded for whoever has to answer for them.
    pub audit: Option<AuditSink>,
    /// Where operators and their tools look in, if they may.
    pub admin: Option<AdminSettings>,
    /// What is recorded of requests for tracing, if somebody wants it.
    pub spans: Option<SpanSettings>,
    /// How bodies are taken in.
    pub intake: Intake,
    /// The largest body outside of artifacts. Bytes.
    pub api_body_size_limit: u64,
    /// The route by which the AWS SDK leaves this machine.
    pub egress: Egress,
    /// A random number that tells this run's request ids from others'.
    pub run: u64,
}

/// Why `serve` did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The audit log cannot be written to.
    #[error("cannot open the audit log")]
    Audit(#[source] io::Error),
    /// The server failed as a whole.
    #[error("the server failed")]
    Server(#[source] io::Error),
}
