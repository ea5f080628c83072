//! `sandbox`: everything on this machine and no AWS. A real MLflow, in front of it doors that check signatures as AWS
//! does, an STS and a metadata service to get credentials from, and in front of those the appliance itself, run as
//! the program that it is.
//!
//! ```text
//! client → appliance serve → front door (TLS, SigV4, ARN) → mlflow server
//!                ↓ credentials
//!          IMDSv2 → STS AssumeRole       artifacts: appliance → S3
//! ```

mod certificates;
mod doors;
mod error;
mod gateway;
mod identity;
mod imds;
mod listing;
mod mlflow;
mod objects;
mod process;
mod report;
mod s3;
mod sagemaker;
mod sts;
mod verify;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::error_chain;
use crate::http::client::{Client, ClientSettings, Dialer, Endpoint, ServiceClient, ServiceClientError, ServiceLimits};
use crate::http::fields::Fields;
use crate::http::tls;
use crate::mlflow::arn::Mode;

pub use certificates::CertificateError;
pub use error::SandboxError;
use error::io_error;
pub use mlflow::{InstallError, VERSION as MLFLOW_VERSION};

use doors::Doors;
pub use doors::ROLE_ARN;
use identity::Issuer;
use process::Process;
pub use report::{Ready, Report, Running};

/// MLflow imports a lot before it answers, and creates its database on the first start.
const MLFLOW_START_LIMIT: Duration = Duration::from_secs(180);
/// The appliance has to obtain credentials first; that is a matter of milliseconds here.
const APPLIANCE_START_LIMIT: Duration = Duration::from_secs(30);
/// A server that the user has just started may need a moment.
const MLFLOW_ANSWER_LIMIT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Everything the sandbox needs, checked.
#[derive(Debug)]
pub struct Settings {
    /// Which of the two offerings to pretend.
    pub modes: Vec<Mode>,
    /// The appliance's port for the first mode; the second gets the next one.
    pub port: u16,
    /// A running MLflow to use, or none to start one.
    pub mlflow: Option<Endpoint>,
    /// Where MLflow keeps its data, or none to throw it away in the end.
    pub data: Option<PathBuf>,
    /// How long each set of credentials lives.
    pub credential_lifetime: Duration,
    /// Where to install MLflow.
    pub cache: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// The environment for the programs that are started, without what configures AWS, MLflow or the appliance.
    pub environment: Vec<(OsString, OsString)>,
    /// The `PATH`.
    pub path: OsString,
}

/// Runs the sandbox until it is interrupted or one of its programs ends.
///
/// # Errors
/// [`SandboxError`]. Whatever was started has been stopped then.
pub async fn run(settings: Settings, report: &dyn Report) -> Result<(), SandboxError> {
    let began = Instant::now();
    // Asked for before anything is started, so that an interruption from now on stops it all in order.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(io_error("listening for Ctrl-C"))?;
    let mut terminated = signal(SignalKind::terminate()).map_err(io_error("listening for SIGTERM"))?;
    let directory = tempfile::Builder::new()
        .prefix("appliance-sandbox-")
        .tempdir()
        .map_err(io_error("creating a directory for this run"))?;
    let mut started = Started::default();
    let session = async {
        let ready = start(&settings, directory.path(), &mut started, report).await?;
        report.ready(&Ready { took: began.elapsed(), ..ready });
        started.first_to_end().await
    };
    let result = tokio::select! {
        result = session => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    report.step("stopping");
    let (gateways, s3) = started.stop().await;
    report.stopped(&gateways, s3);
    result
}

/// What has been started so far.
#[derive(Default)]
struct Started {
    doors: Option<Doors>,
    /// In the order of starting; stopped in the reverse.
    programs: Vec<Process>,
}

impl Started {
    /// Waits until one of the programs ends, which none should.
    async fn first_to_end(&mut self) -> Result<(), SandboxError> {
        let ends = self.programs.iter_mut().map(|program| Box::pin(ended(program)));
        Err(futures_util::future::select_all(ends).await.0)
    }

    async fn stop(self) -> (Vec<(Mode, u64, u64)>, (u64, u64)) {
        for program in self.programs.into_iter().rev() {
            program.stop().await;
        }
        match self.doors {
            Some(doors) => doors.close().await,
            None => (Vec::new(), (0, 0)),
        }
    }
}

async fn ended(program: &mut Process) -> SandboxError {
    let status = program.ended().await.map_or_else(|error| error.to_string(), |status| status.to_string());
    failed(program, format!("ended ({status})"))
}

fn failed(program: &Process, what: String) -> SandboxError {
    SandboxError::Program { name: program.name().to_owned(), what, last_words: program.last_words() }
}

async fn start(
    settings: &Settings,
    directory: &Path,
    started: &mut Started,
    report: &dyn Report,
) -> Result<Ready, SandboxError> {
    let ports = (settings.port..).take(settings.modes.len());
    for port in ports.clone() {
        // Better now than after MLflow has taken its time to start.
        free_port(port).map_err(|source| SandboxError::Port { port, source })?;
    }
    let issuer = Issuer::default();
    let store = doors::open_store(settings, directory, &issuer)?;
    let (mlflow, python) = if let Some(endpoint) = &settings.mlflow {
        check_answers(endpoint).await?;
        (endpoint.clone(), None)
    } else {
        let program = mlflow::program(&settings.path, &settings.cache, report).await?;
        let python = Some(program.with_file_name("python")).filter(|python| python.exists());
        let environment = doors::mlflow_environment(&issuer, &store);
        (start_mlflow(settings, (&program, &environment), directory, started, report).await?, python)
    };
    let doors = started.doors.insert(Doors::open(settings, directory, &mlflow, (issuer, store))?);
    let mut appliances = Vec::new();
    for (door, port) in doors.gateways.iter().zip(ports) {
        let name = format!("appliance ({})", door.target.arn().mode().resource_type());
        report.step(&format!("starting {name}"));
        let mut command = Command::new(&settings.program);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--resource-arn", door.target.arn().as_str()])
            .args(["--role-arn", ROLE_ARN, "--upstream-endpoint", &door.url, "--ca-file"])
            .arg(&doors.authority)
            .args(["--artifact-store", "auto", "--sagemaker-endpoint", &doors.sagemaker])
            // The usual port may be another appliance's.
            .args(["--admin-listen", "off"])
            .args(["--s3-endpoint", doors.s3()])
            .env_clear()
            .envs(settings.environment.iter().cloned())
            .envs(doors.environment());
        let log = directory.join(format!("{}.log", door.target.arn().mode().resource_type()));
        started.programs.push(Process::start(&name, command, log).map_err(io_error("starting the appliance"))?);
        let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
        let program = started.programs.last_mut().expect("just added");
        until_answering(program, &endpoint, "/_appliance/readyz", APPLIANCE_START_LIMIT).await?;
        appliances.push(Running {
            target: door.target.clone(),
            url: format!("http://127.0.0.1:{port}"),
            front_door: door.url.clone(),
        });
    }
    Ok(Ready {
        appliances,
        sts: doors.sts.clone(),
        imds: doors.imds.clone(),
        sagemaker: doors.sagemaker.clone(),
        s3: doors.s3().to_owned(),
        authority: doors.authority.clone(),
        mlflow: format!("{}://{}", mlflow.scheme(), mlflow.authority()),
        python,
        logs: directory.to_owned(),
        credential_lifetime: settings.credential_lifetime,
        took: Duration::ZERO,
    })
}

async fn start_mlflow(
    settings: &Settings,
    (program, environment): (&Path, &[(&'static str, String)]),
    directory: &Path,
    started: &mut Started,
    report: &dyn Report,
) -> Result<Endpoint, SandboxError> {
    let data = settings.data.clone().unwrap_or_else(|| directory.join("mlflow"));
    std::fs::create_dir_all(&data).map_err(io_error("creating the data directory"))?;
    let port = quiet_port().map_err(|source| SandboxError::Port { port: 0, source })?;
    report.step(&format!("starting mlflow server on port {port}"));
    let mut command = mlflow::server(program, port, &data);
    command.env_clear().envs(settings.environment.iter().cloned()).envs(mlflow::ENVIRONMENT);
    command.envs(environment.iter().cloned());
    let process = Process::start(error::MLFLOW_SERVER, command, directory.join("mlflow.log"));
    started.programs.push(process.map_err(io_error("starting mlflow server"))?);
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
    let program = started.programs.last_mut().expect("just added");
    until_answering(program, &endpoint, "/health", MLFLOW_START_LIMIT).await?;
    Ok(endpoint)
}

/// Checks that an MLflow server answers at the URL of `--mlflow-url`.
async fn check_answers(endpoint: &Endpoint) -> Result<(), SandboxError> {
    let client = asking_client(dialer(endpoint)?);
    let deadline = Instant::now() + MLFLOW_ANSWER_LIMIT;
    loop {
        let what = match get(&client, "/version").await {
            // A server with authentication of its own refuses those that have none.
            Ok(StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Ok(()),
            Ok(status) => format!("it answers `{status}` to `GET /version`"),
            Err(error) => error_chain::joined(&error),
        };
        if Instant::now() >= deadline {
            return Err(SandboxError::NoMlflow { url: endpoint.url(), what });
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Sends `GET path` and returns the status of the answer.
async fn get(client: &ServiceClient, path: &str) -> Result<StatusCode, ServiceClientError> {
    client.exchange(Method::GET, path, Fields::new(), Bytes::new()).await.map(|response| response.status)
}

/// A port for a program that takes seconds to listen on it. It is below those that the system gives out by itself, or
/// somebody else would have it by then.
fn quiet_port() -> io::Result<u16> {
    const ATTEMPTS: usize = 100;
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let mut bytes = [0; 2];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
        match free_port(RANGE.start + u16::from_ne_bytes(bytes) % (RANGE.end - RANGE.start)) {
            Ok(port) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A port, if nobody listens on it.
fn free_port(port: u16) -> io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(TcpListener::bind(address)?.local_addr()?.port())
}

/// Waits until a program answers `GET path` with 200, or ends, or takes too long.
async fn until_answering(
    program: &mut Process,
    endpoint: &Endpoint,
    path: &str,
    limit: Duration,
) -> Result<(), SandboxError> {
    let client = asking_client(dialer(endpoint)?);
    let asking = async {
        loop {
            if get(&client, path).await.is_ok_and(|status| status == StatusCode::OK) {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        () = asking => return Ok(()),
        error = ended(program) => return Err(error),
        () = sleep(limit) => {}
    }
    Err(failed(program, format!("was not ready after {limit:?}")))
}

/// Opens connections to a server on this machine.
fn dialer(endpoint: &Endpoint) -> Result<Dialer, SandboxError> {
    let limit = Duration::from_secs(5);
    Ok(Dialer::new(endpoint.clone(), &*tls::client_config(None)?, limit, limit))
}

/// A client that asks such a server whether it is there.
fn asking_client(dialer: Dialer) -> ServiceClient {
    let exchange_timeout = Duration::from_secs(10);
    let limits = ServiceLimits { exchange_timeout, keep_alive: Duration::ZERO, body_limit: 1 << 20 };
    ServiceClient::new(dialer, limits)
}

/// A client that carries callers' requests to it; one for each thread.
fn client(dialer: Dialer) -> Client {
    let settings = ClientSettings {
        connection_limit: 256,
        // uvicorn, which serves MLflow, closes idle connections after 5 s.
        keep_alive: Duration::from_secs(3),
        lifetime: Duration::from_hours(1),
        response_timeout: Duration::from_mins(5),
        idle_timeout: Duration::from_mins(5),
        http2: false,
    };
    Client::new(dialer, settings)
}
