//! `sandbox`: everything on this machine and no AWS. A real MLflow, in front of it endpoints that check signatures as AWS
//! does, an STS and a metadata service to get credentials from, and in front of those the appliance itself, run as
//! the program that it is.
//!
//! ```text
//! client → appliance serve → endpoint (TLS, SigV4, ARN) → mlflow server
//!                ↓ credentials
//!          IMDSv2 → STS AssumeRole       artifacts: appliance → S3
//! ```

mod appliance;
mod aws_callers;
mod certificates;
mod client;
mod configuration;
mod encryption;
mod error;
mod gateway;
mod iam;
mod identity;
mod imds;
mod listing;
mod mlflow;
mod objects;
mod ports;
mod process;
mod progress;
mod report;
mod roles;
mod s3;
mod sagemaker;
mod services;
mod settings;
mod space;
mod sts;
mod verify;
mod written;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::access::tokens::Tokens;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;

pub use certificates::CertificateError;
pub use error::SandboxError;
use error::io_error;
pub use mlflow::{MlflowInstallError, VERSION as MLFLOW_VERSION};

use client::{check_answers, ended, until_answering};
use configuration::ApplianceFile;
use identity::Issuer;
use ports::{free_pair, free_port, quiet_port};
use process::ManagedProcess;
pub use report::{Ready, Reporter, SandboxTarget, WrittenConfiguration};
pub use roles::RoleToken;
use services::SandboxServices;
pub use services::{ROLE_ARN, target_name};
pub use settings::SandboxSettings;
use written::WrittenFiles;

/// MLflow imports a lot before it answers, and creates its database on the first start.
const MLFLOW_START_LIMIT: Duration = Duration::from_secs(180);
/// The database, the logs and a few artifacts of MLflow. Bytes.
const RUN_SPACE: u64 = 64 << 20;

/// Runs the sandbox until it is interrupted or one of its programs ends.
///
/// # Errors
/// [`SandboxError`]. All programs have been stopped then.
pub async fn run(settings: SandboxSettings, report: &dyn Reporter) -> Result<(), SandboxError> {
    let began = Instant::now();
    // The handlers are installed before any program starts, so that an interruption stops all programs gracefully.
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
    if result.is_err() && started.services.is_none() && started.programs.is_empty() {
        return result;
    }
    report.step("stopping");
    let (gateways, s3) = started.stop().await;
    report.stopped(&gateways, s3);
    result
}

/// The programs and services that have been started so far.
#[derive(Default)]
struct Started {
    services: Option<SandboxServices>,
    /// In the order of starting; stopped in the reverse.
    programs: Vec<ManagedProcess>,
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
        match self.services {
            Some(services) => services.close().await,
            None => (Vec::new(), (0, 0)),
        }
    }
}

async fn start(
    settings: &SandboxSettings,
    directory: &Path,
    started: &mut Started,
    report: &dyn Reporter,
) -> Result<Ready, SandboxError> {
    for port in [settings.port, settings.status_port()] {
        // A taken port is better found now than after MLflow has taken its time to start.
        free_port(port).map_err(|source| SandboxError::Port { port, source })?;
    }
    let files = settings.write_config.as_deref().map(WrittenFiles::reserve).transpose()?;
    space::check(settings.data.as_deref().unwrap_or(directory), "a run of the sandbox", RUN_SPACE)?;
    let issuer = Issuer::default();
    let store = services::open_store(settings, directory, &issuer)?;
    let (mlflow, python) = if let Some(endpoint) = &settings.mlflow {
        check_answers(endpoint).await?;
        (endpoint.clone(), None)
    } else {
        let program = mlflow::program(&settings.path, &settings.cache, report).await?;
        let python = Some(program.with_file_name("python")).filter(|python| python.exists());
        let environment = services::mlflow_environment(&issuer, &store);
        (start_mlflow(settings, (&program, &environment), directory, started, report).await?, python)
    };
    let services = started.services.insert(SandboxServices::open(settings, directory, &mlflow, (issuer, store))?);
    report.step("starting the appliance");
    let (tokens, token_file) = roles::make()?;
    started.programs.push(appliance::start(settings, directory, services, &token_file)?);
    let program = started.programs.last_mut().expect("just added");
    appliance::until_ready(program, settings.port).await?;
    let configuration = files.map(|files| write(settings, services, &token_file, files)).transpose()?;
    Ok(Ready {
        targets: served(settings, services),
        url: url(settings.port),
        status: url(settings.status_port()),
        tokens,
        configuration,
        program: settings.program.clone(),
        environment: services.environment().into(),
        sts: services.sts.clone(),
        imds: services.imds.clone(),
        sagemaker: services.sagemaker.clone(),
        s3: services.s3().to_owned(),
        authority: services.authority.clone(),
        mlflow: format!("{}://{}", mlflow.scheme(), mlflow.authority()),
        python,
        logs: directory.to_owned(),
        credential_lifetime: settings.credential_lifetime,
        took: Duration::ZERO,
    })
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns the targets in the order of the configuration, the first of which is also at `/`.
fn served(settings: &SandboxSettings, services: &SandboxServices) -> Vec<SandboxTarget> {
    let served = |(at, endpoint): (usize, &services::TargetEndpoint)| {
        let name = target_name(endpoint.target.arn().mode());
        let path = if at == 0 { String::new() } else { format!("/t/{name}") };
        SandboxTarget {
            target: endpoint.target.clone(),
            url: format!("{}{path}", url(settings.port)),
            endpoint: endpoint.url.clone(),
        }
    };
    services.gateways.iter().enumerate().map(served).collect()
}

/// Writes the files of `--write-config`, for an appliance that needs tokens.
fn write(
    settings: &SandboxSettings,
    services: &SandboxServices,
    tokens: &Tokens,
    files: WrittenFiles,
) -> Result<WrittenConfiguration, SandboxError> {
    let port = free_pair(settings.port)?;
    let (file, token_file) = (files.configuration().to_owned(), files.tokens().to_owned());
    let heading = configuration::heading(&services.environment());
    let appliance = ApplianceFile { heading, port, status_port: port + 1, tokens: &token_file, is_open: false };
    files.write(&appliance.text(services)?, &tokens.to_string())?;
    Ok(WrittenConfiguration { file, url: url(port), status: url(port + 1), tokens: token_file })
}

async fn start_mlflow(
    settings: &SandboxSettings,
    (program, environment): (&Path, &[(&'static str, String)]),
    directory: &Path,
    started: &mut Started,
    report: &dyn Reporter,
) -> Result<Endpoint, SandboxError> {
    let data = settings.data.clone().unwrap_or_else(|| directory.join("mlflow"));
    std::fs::create_dir_all(&data).map_err(io_error("creating the data directory"))?;
    let port = quiet_port().map_err(|source| SandboxError::Port { port: 0, source })?;
    report.step(&format!("starting mlflow server on port {port}"));
    let mut command = mlflow::server(program, port, &data);
    command.env_clear().envs(mlflow::ENVIRONMENT).envs(settings.environment.iter().cloned());
    command.envs(environment.iter().cloned());
    let process = ManagedProcess::start(error::MLFLOW_SERVER, command, directory.join("mlflow.log"));
    started.programs.push(process.map_err(io_error("starting mlflow server"))?);
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
    let program = started.programs.last_mut().expect("just added");
    until_answering(program, &endpoint, "/health", MLFLOW_START_LIMIT).await?;
    Ok(endpoint)
}
