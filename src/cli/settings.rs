//! Gives the options of `serve` their meaning: defaults, limits, and what must agree with what.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use rustls::ClientConfig;

use super::logging::Logging;
use super::options::{Given, ServeOptions};
use super::problems::{Problem, Problems};
use super::{callers, file, proxies, targets, telemetry, values, variables};
use crate::access::address::Networks;
use crate::aws::sdk::Egress;
use crate::causes;
use crate::http::body::{Budget, Intake, Resource, Timing};
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use crate::http::tls;
use crate::http::tls::server::{ServerFiles, ServerTls};
use crate::serve::{AdminSettings, AllowedHosts, AuditSink, ServeSettings, TargetSettings};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the sample listened; MLflow's own default, too.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);
/// Beside it, and of no other program that is known.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5090);
/// What a hundred uploads gather before they write; with more of them the pieces get smaller. Bytes.
const GATHERING: u64 = 32 * MIB;
/// What the listener may hold of large uploads: eight hundred of them at once. Bytes.
const ARRIVING: u64 = 256 * MIB;
/// Enough for the largest body, 5 GiB, over an uplink of 6 Mbit/s. Seconds.
const BODY_TIMEOUT_S: u64 = 2 * 3600;
/// On disk by the Filesystem Hierarchy Standard, where `/tmp` is often memory.
const DEFAULT_SPOOL: &str = "/var/tmp";
pub(super) const NO_PLACE: &str = "defaults";

/// Reads the file, if there is one, beneath the flags, and turns both into settings; `run` is a random number.
///
/// # Errors
/// As those of [`resolve`].
pub(super) fn read(
    config: Option<&Path>,
    flags: ServeOptions,
    run: u64,
) -> Result<(ServeSettings, Logging), Vec<Problem>> {
    let mut problems = Problems::default();
    let file = file::read(config, &mut problems)?;
    variables::check(&mut problems);
    let elsewhere = telemetry::from_environment(|name| std::env::var(name).ok());
    resolve(&flags.or(file).or(elsewhere), problems, run)
}

/// Turns options into settings; `run` is a random number.
///
/// # Errors
/// Everything that is wrong, `problems` included, each with its place and its fix. Nothing is bound or connected yet.
pub(super) fn resolve(
    options: &ServeOptions,
    mut problems: Problems,
    run: u64,
) -> Result<(ServeSettings, Logging), Vec<Problem>> {
    let problem = &mut problems;
    let logging = logging(options, problem);
    let listen = listen(options, problem);
    let listener_tls = listener_tls(options, problem);
    let reload_interval = problem.duration(options.reload_interval.as_ref(), 60);
    let audit = options.audit_log.as_ref().map(|given| match given.text.as_str() {
        "stdout" => AuditSink::Stdout,
        path => AuditSink::File(path.into()),
    });
    let allowed_hosts = problem.read(
        options.allowed_hosts.as_ref(),
        "write names without a port, as in `mlflow.corp,mlflow`",
        values::hosts,
    );
    let admin = admin(options, listen, problem);
    let (tls, authorities) = trust(options, problem).unzip();
    let proxies = proxies::read(problem);
    let spans = telemetry::resolve(options, (tls.as_ref(), &proxies), run, problem);
    let connect_timeout = problem.duration(options.upstream_connect_timeout.as_ref(), 5);
    let handshake_timeout = problem.duration(options.upstream_handshake_timeout.as_ref(), 5);
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let client = ClientSettings {
        connection_limit: problem.count(options.upstream_connections.as_ref(), 256),
        keep_alive: problem.duration(options.upstream_keep_alive.as_ref(), 50),
        lifetime: problem.duration(options.upstream_lifetime.as_ref(), 3600),
        response_timeout: problem.duration(options.upstream_response_timeout.as_ref(), 110),
        idle_timeout: problem.duration(options.upstream_idle_timeout.as_ref(), 300),
        http2: problem.switch(options.upstream_http2.as_ref(), true),
    };
    let targets = targets::resolve(options, problem);
    let region = targets.first().map_or("us-east-1", |target| target.target.arn().region());
    let callers = callers::resolve(options, listen, region, problem);
    let intake = intake(options, problem);
    let api_body_size_limit = problem.size(options.api_body_size_limit.as_ref(), 100 * MIB);
    let (workers, connection_limit) =
        (problem.count(options.workers.as_ref(), cores), problem.count(options.connection_limit.as_ref(), 25_000));
    let keep_alive = problem.duration(options.keep_alive.as_ref(), 75);
    let head_timeout = problem.duration(options.head_timeout.as_ref(), 10);
    let send_timeout = problem.duration(options.send_timeout.as_ref(), 60);
    let drain_timeout = problem.duration(options.drain_timeout.as_ref(), 30);
    if let Some(callers) = &callers {
        callers::check_targets(callers, &targets, problem);
    }
    problems.none_or_all()?;

    let tls = tls.expect("without it there is a problem");
    let backends = targets.into_iter().map(|target| {
        let endpoint = target.endpoint.unwrap_or_else(|| Endpoint::https(target.target.host()));
        TargetSettings {
            name: target.name,
            is_default: target.is_default,
            dialer: Dialer::new(endpoint, &tls, connect_timeout, handshake_timeout).through(&proxies),
            target: target.target,
            client,
            role: target.role,
            artifacts: target.artifacts,
        }
    });
    let settings = ServeSettings {
        listen,
        inherited: Vec::new(),
        tls: listener_tls,
        admin: admin.map(|admin| AdminSettings { names: allowed_hosts.clone().unwrap_or_default(), ..admin }),
        spans,
        allowed_hosts: match allowed_hosts {
            Some(names) => AllowedHosts::Listed(names),
            None if listen.ip().is_loopback() => AllowedHosts::Listed(Vec::new()),
            None => AllowedHosts::Any,
        },
        workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
        connection_limit,
        keep_alive,
        head_timeout,
        send_timeout,
        drain_timeout,
        backends: backends.collect(),
        callers: callers.expect("without it there is a problem"),
        reload_interval,
        audit,
        intake,
        api_body_size_limit,
        egress: Egress { authorities: authorities.flatten(), proxies: proxies.clone() },
        run,
    };
    Ok((settings, logging))
}

fn logging(options: &ServeOptions, problems: &mut Problems) -> Logging {
    let format = problems.read(options.log_format.as_ref(), "write `text` or `json`", str::parse);
    let filter = problems.read(
        options.log_filter.as_ref(),
        "write a level (`error`, `warn`, `info`, `debug`), or levels by target as in `warn,access=off`",
        Logging::parse_filter,
    );
    let ignored = options.metrics_emf.iter().map(|given| given.place.to_string());
    Logging::new(format.unwrap_or_default(), filter, ignored.collect())
}

fn listen(options: &ServeOptions, problems: &mut Problems) -> SocketAddr {
    let given = options.listen.as_ref();
    problems
        .read(
            given,
            "write an address and a port, as in `127.0.0.1:5000`, `0.0.0.0:5000` or `[::1]:5000`",
            values::address,
        )
        .unwrap_or(DEFAULT_LISTEN)
}

/// Where operators look in, and from where; nothing if it is switched off.
fn admin(options: &ServeOptions, listen: SocketAddr, problems: &mut Problems) -> Option<AdminSettings> {
    const FIX: &str = "write an address and a port, as in `127.0.0.1:5090`, or `off`";
    let given = options.admin_listen.as_ref();
    let is_off = given.is_some_and(|given| given.text == "off");
    let asked = if is_off { None } else { problems.read(given, FIX, values::address) };
    let networks =
        problems.read(options.admin_networks.as_ref(), "write networks like `10.0.0.0/8,192.0.2.1`", Networks::parse);
    let address = asked.unwrap_or(DEFAULT_ADMIN);
    if let Some(given) = given.filter(|_| !is_off) {
        if networks.is_none() && options.admin_networks.is_none() && !address.ip().is_loopback() {
            // SECURITY: paths and names of targets are for those who run the appliance, not for all who can connect.
            problems.add(
                &given.place,
                format!("`{address}` can be reached from other machines, and it is not said which of them may"),
                "set `admin-networks` to those of your monitoring, or listen on 127.0.0.1",
            );
        }
        if address == listen && address.port() != 0 {
            problems.add(&given.place, "it is the same as `listen`", FIX);
        }
    }
    if let (Some(given), true) = (&options.admin_networks, is_off || address.ip().is_loopback()) {
        let fix = "set `admin-listen` to an address that they can reach, or remove it";
        problems.add(&given.place, "it has no effect: the admin listener cannot be reached from there", fix);
    }
    (!is_off).then(|| AdminSettings { listen: address, is_configured: asked.is_some(), networks, names: Vec::new() })
}

/// How TLS is spoken with callers.
fn listener_tls(options: &ServeOptions, problems: &mut Problems) -> Option<ServerTls> {
    let required =
        problems.read(options.tls_client_certificate.as_ref(), "write `optional` or `required`", |text| match text {
            "optional" => Ok(false),
            "required" => Ok(true),
            _ => Err("neither `optional` nor `required`".to_owned()),
        });
    let idle = |given: &Option<Given>, unless: &Option<Given>, what: &str, problems: &mut Problems| {
        if let (Some(given), None) = (given, unless) {
            problems.add(
                &given.place,
                format!("it has no effect without `{what}`"),
                format!("set `{what}`, or remove it"),
            );
        }
    };
    idle(&options.tls_client_certificate, &options.tls_client_ca, "tls-client-ca", problems);
    idle(&options.tls_client_ca, &options.tls_certificate, "tls-certificate", problems);
    idle(&options.tls_key, &options.tls_certificate, "tls-certificate", problems);
    idle(&options.tls_certificate, &options.tls_key, "tls-key", problems);
    let mut path =
        |given: &Option<Given>| given.as_ref().and_then(|given| problems.file(given, "name a readable PEM file"));
    let files = ServerFiles {
        certificate: path(&options.tls_certificate)?,
        key: path(&options.tls_key)?,
        client_authorities: path(&options.tls_client_ca),
        is_client_certificate_required: required.unwrap_or(false),
    };
    let place = place(options.tls_certificate.as_ref());
    let fix = "name PEM files that this user may read, and a key that belongs to the certificate";
    ServerTls::load(files).map_err(|error| problems.add_local(&place, causes::joined(&error), fix)).ok()
}

/// Whom to trust, for our client and as PEM text for the AWS SDK's.
pub(super) fn trust(options: &ServeOptions, problems: &mut Problems) -> Option<(Arc<ClientConfig>, Option<Vec<u8>>)> {
    let given = options.ca_file.as_ref();
    let path = given.map(|given| PathBuf::from(&given.text));
    match tls::client_config(path.as_deref()) {
        Ok(config) => Some((config, path.and_then(|path| std::fs::read(path).ok()))),
        Err(error) => {
            let fix = match given {
                None => "install the `ca-certificates` package, or set `ca-file`",
                Some(_) => "name a readable PEM file of certificate authorities",
            };
            problems.add_local(&place(given), causes::joined(&error), fix);
            None
        }
    }
}

fn intake(options: &ServeOptions, problems: &mut Problems) -> Intake {
    let given = options.spool_directory.as_ref();
    let directory = given.map_or(DEFAULT_SPOOL, |given| given.text.as_str());
    if let Err(error) = tempfile::tempfile_in(directory) {
        problems.add_local(
            &place(given),
            format!("`{directory}` cannot hold large request bodies: {error}"),
            "set `spool-directory` to a writable directory on a disk",
        );
    }
    Intake {
        size_limit: problems.size(options.body_size_limit.as_ref(), 5 * GIB),
        memory_limit: problems.size(options.body_memory_limit.as_ref(), MIB),
        memory: Budget::new(Resource::Memory, problems.size(options.body_memory_budget.as_ref(), 64 * MIB)),
        arriving: Budget::new(Resource::Arriving, ARRIVING),
        gathering: Budget::new(Resource::Gathering, GATHERING),
        disk: Budget::new(Resource::Disk, problems.size(options.body_disk_budget.as_ref(), 10 * GIB)),
        directory: Path::new(directory).into(),
        timing: Timing {
            silence: problems.duration(options.body_idle_timeout.as_ref(), 60),
            total: problems.duration(options.body_timeout.as_ref(), BODY_TIMEOUT_S),
        },
        passes_large: problems.switch(options.unsigned_payload.as_ref(), false),
    }
}

/// Where an option was given, or that it was not.
pub(super) fn place(given: Option<&Given>) -> String {
    given.map_or_else(|| NO_PLACE.to_owned(), |given| given.place.to_string())
}
