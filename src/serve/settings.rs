//! The checked settings of `serve`.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::aws::sdk::Egress;
use crate::http::body::BodyLimits;
use crate::http::tls::server::ServerTls;
use crate::serve::admin::settings::AdminSettings;
use crate::serve::auth::browser::AllowedHosts;
use crate::serve::auth::settings::CallerSettings;
use crate::serve::server::ServerLimits;
use crate::serve::telemetry::audit::AuditSink;
use crate::serve::telemetry::log_export::LogExportSettings;
use crate::serve::telemetry::spans::SpanSettings;
use crate::serve::upstream::settings::TargetSettings;

/// Everything that `serve` needs.
pub struct ServeSettings {
    /// The address that clients connect to.
    pub listen: SocketAddr,
    /// The sockets of systemd's that listen already; without any, the appliance binds `listen`.
    pub inherited: Vec<TcpListener>,
    /// The TLS of that address; without it, clients speak plain HTTP.
    pub tls: Option<ServerTls>,
    /// The names by which clients may address the appliance.
    pub allowed_hosts: AllowedHosts,
    /// The limits of the threads that handle requests, and of clients' connections.
    pub server: ServerLimits,
    /// The time that requests in flight have after a signal to stop.
    pub drain_timeout: Duration,
    /// The targets, at least one.
    pub served_targets: Vec<TargetSettings>,
    /// The callers and what each may do.
    pub callers: CallerSettings,
    /// The interval at which tokens, certificates and client secrets are reloaded.
    pub reload_interval: Duration,
    /// The destination of the audit log.
    pub audit: Option<AuditSink>,
    /// The admin listener.
    pub admin: Option<AdminSettings>,
    /// The spans of requests, if there is a collector for them.
    pub spans: Option<SpanSettings>,
    /// The export to CloudWatch Logs, if there is a log group for it.
    pub log_export: Option<LogExportSettings>,
    /// The limits and budgets of bodies.
    pub body_limits: BodyLimits,
    /// The largest body outside of artifacts. Bytes.
    pub api_body_size_limit: u64,
    /// The trusted authorities and the proxies of the AWS SDK's connections.
    pub egress: Egress,
    /// A random number with which all request ids of this run begin, so that they differ from those of other runs.
    pub run: u64,
}
