//! Turns the options of `serve` into settings: defaults, limits, and options that have to agree with each other.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use super::logging::Logging;
use super::options::{ListenerOptions, ServeOptions, TelemetryOptions, UpstreamOptions};
use super::problems::{Problem, Problems};
use super::targets::ParsedTarget;
use super::variables::UnknownVariable;
use super::{
    aws_identities, bodies, callers, file, listener, log_export, proxies, targets, telemetry, trust, values, variables,
};
use crate::aws::sdk::Egress;
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use crate::serve::{
    AdminSettings, AllowedHosts, AuditSink, CallerSettings, LogContent, ServeSettings, ServerLimits, TargetSettings,
};

/// A configuration without problems.
pub(super) struct Configuration {
    pub settings: ServeSettings,
    pub logging: Logging,
    pub warnings: Vec<Problem>,
}

/// Reads the file, if there is one, beneath the flags, and turns both into settings; `run` is a random number.
///
/// # Errors
/// As those of [`resolve`].
pub(super) fn read(
    config: Option<&Path>,
    flags: ServeOptions,
    variables: &[UnknownVariable],
    run: u64,
) -> Result<Configuration, Vec<Problem>> {
    let mut problems = Problems::default();
    let file = file::read(config, &mut problems)?;
    variables::check(variables, &mut problems);
    let telemetry = telemetry::from_environment(|name| std::env::var(name).ok());
    let environment = ServeOptions { telemetry, ..ServeOptions::default() };
    resolve(&flags.or(file).or(environment), problems, run)
}

/// Turns options into settings; `run` is a random number.
///
/// # Errors
/// All problems, `problems` included, each with its origin and a hint. Nothing is bound or connected yet.
pub(super) fn resolve(options: &ServeOptions, mut problems: Problems, run: u64) -> Result<Configuration, Vec<Problem>> {
    let problem = &mut problems;
    let ServeOptions { upstream, listener, .. } = options;
    let logging = logging(&options.telemetry, problem);
    let listen = listener::listen(listener, problem);
    let listener_tls = listener::tls(listener, problem);
    let allowed_hosts = problem.read(
        listener.allowed_hosts.as_ref(),
        "write names without a port, as in `mlflow.corp,mlflow`",
        values::hosts,
    );
    let admin = listener::admin(&options.telemetry, listen, problem);
    let (tls, authorities) = trust::authorities(upstream.ca_file.as_ref(), problem).unzip();
    let proxies = proxies::read(problem);
    if let Some(given) = &options.telemetry.metrics_emf {
        let hint = "remove it; the admin listener serves the metrics at `/metrics`";
        problem.warn(&given.origin, "`metrics-emf` has no effect any more", hint);
    }
    let spans = telemetry::resolve(&options.telemetry, (tls.as_ref(), &proxies), run, problem);
    let connect_timeout = problem.duration(upstream.upstream_connect_timeout.as_ref(), 5);
    let handshake_timeout = problem.duration(upstream.upstream_handshake_timeout.as_ref(), 5);
    let client = client(upstream, problem);
    let targets = targets::resolve(options, problem);
    let region = targets.first().map_or("us-east-1", |target| target.target.arn().region());
    let log_export = log_export::resolve(&options.telemetry, region, (tls.as_ref(), &proxies), problem);
    let callers = callers::resolve(options, listen, region, problem);
    let body_limits = bodies::resolve(&options.bodies, problem);
    let api_body_size_limit = bodies::api_size_limit(&options.bodies, problem);
    let server = server(listener, problem);
    let drain_timeout = problem.duration(listener.drain_timeout.as_ref(), 30);
    let reload_interval = problem.duration(options.callers.reload_interval.as_ref(), 60);
    let aws = aws_identities::resolve(options, &targets, problem);
    if let Some(callers) = &callers {
        aws_identities::check_grants(&options.callers, &callers.grants, problem);
        callers::check_targets(callers, &targets, problem);
    }
    let warnings = problems.none_or_all()?;
    let logging = logging.exported(log_export.as_ref().and_then(|export| export.queue(LogContent::Log)));

    let tls = tls.expect("without it there is a problem");
    let new = |endpoint| Dialer::new(endpoint, &tls, connect_timeout, handshake_timeout).through(&proxies);
    let settings = ServeSettings {
        listen,
        inherited: Vec::new(),
        tls: listener_tls,
        admin: admin.map(|admin| AdminSettings { names: allowed_hosts.clone().unwrap_or_default(), ..admin }),
        spans,
        log_export,
        allowed_hosts: match allowed_hosts {
            Some(names) => AllowedHosts::Listed(names),
            None if listen.ip().is_loopback() => AllowedHosts::Listed(Vec::new()),
            None => AllowedHosts::Any,
        },
        server,
        drain_timeout,
        served_targets: served(targets, client, new),
        callers: CallerSettings { aws, ..callers.expect("without it there is a problem") },
        reload_interval,
        audit: options.telemetry.audit_log.as_ref().map(|given| match given.text.as_str() {
            "stdout" => AuditSink::Stdout,
            path => AuditSink::File(path.into()),
        }),
        body_limits,
        api_body_size_limit,
        egress: Egress { authorities: authorities.flatten(), proxies: proxies.clone() },
        run,
    };
    Ok(Configuration { settings, logging, warnings })
}

/// The settings of the targets. `new` makes the first dialer, and the dialers of all targets come from one, so that targets
/// behind one endpoint can share its connections.
fn served(targets: Vec<ParsedTarget>, client: ClientSettings, new: impl Fn(Endpoint) -> Dialer) -> Vec<TargetSettings> {
    let mut family: Option<Dialer> = None;
    let served = targets.into_iter().map(|target| {
        let endpoint = target.endpoint.unwrap_or_else(|| Endpoint::https(target.target.host()));
        let dialer = family.as_ref().map_or_else(|| new(endpoint.clone()), |known| known.to(endpoint.clone()));
        family.get_or_insert_with(|| dialer.clone());
        TargetSettings {
            name: target.name,
            is_default: target.is_default,
            dialer,
            target: target.target,
            client,
            role: target.role,
            artifacts: target.artifacts,
        }
    });
    served.collect()
}

fn server(options: &ListenerOptions, problems: &mut Problems) -> ServerLimits {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    ServerLimits {
        threads: NonZeroUsize::new(problems.count(options.workers.as_ref(), cores)).unwrap_or(NonZeroUsize::MIN),
        connection_limit: problems.count(options.connection_limit.as_ref(), 25_000),
        keep_alive: problems.duration(options.keep_alive.as_ref(), 75),
        head_timeout: problems.duration(options.head_timeout.as_ref(), 10),
        send_timeout: problems.duration(options.send_timeout.as_ref(), 60),
    }
}

fn logging(options: &TelemetryOptions, problems: &mut Problems) -> Logging {
    let format = problems.read(options.log_format.as_ref(), "write `text` or `json`", str::parse);
    let filter = problems.read(
        options.log_filter.as_ref(),
        "write a level (`error`, `warn`, `info`, `debug`), or levels by target as in `warn,access=off`",
        Logging::parse_filter,
    );
    Logging::new(format.unwrap_or_default(), filter)
}

fn client(options: &UpstreamOptions, problems: &mut Problems) -> ClientSettings {
    ClientSettings {
        connection_limit: problems.count(options.upstream_connections.as_ref(), 256),
        keep_alive: problems.duration(options.upstream_keep_alive.as_ref(), 50),
        lifetime: problems.duration(options.upstream_lifetime.as_ref(), 3600),
        response_timeout: problems.duration(options.upstream_response_timeout.as_ref(), 110),
        idle_timeout: problems.duration(options.upstream_idle_timeout.as_ref(), 300),
        http2: problems.switch(options.upstream_http2.as_ref(), true),
    }
}
