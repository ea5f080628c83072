//! The emulated AWS: an MLflow endpoint for each mode, STS, the SageMaker API, S3 and the metadata service, all on ports of this
//! machine.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::header::HeaderValue;
use actix_web::{App, HttpServer, rt, web};
use rustls::ServerConfig;

use super::certificates::{self, Certificates};
use super::client::{client, dialer};
use super::error::{SandboxError, io_error};
use super::gateway::{self, Gateway, Tally};
use super::identity::{Issuer, Principal};
use super::imds::{self, MetadataService};
use super::s3::{self, S3Server};
use super::sagemaker::{self, SageMaker};
use super::settings::SandboxSettings;
use super::sts::{self, Sts};
use crate::clock;
use crate::http::body::{BodyLimits, Budget, BudgetKind, Timing};
use crate::http::client::Endpoint;
use crate::mlflow::arn::{Arn, Mode};
use crate::mlflow::target::Target;

/// The region of the emulated resources.
const REGION: &str = "us-east-1";
/// The role that the appliance assumes.
pub const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/sandbox-mlflow";
const TRACKING_SERVER_ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/sandbox";
const APP_ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-SANDBOX";

/// The lifetime of the MLflow server's credentials, which is longer than a sandbox runs.
const MLFLOW_LIFETIME: Duration = Duration::from_hours(24 * 365);

/// An endpoint in front of MLflow, for one target.
pub(super) struct TargetEndpoint {
    pub(super) target: Target,
    pub(super) url: String,
    tally: Arc<Tally>,
}

/// All services, listening.
pub(super) struct SandboxServices {
    pub(super) gateways: Vec<TargetEndpoint>,
    /// The PEM file of the authority that signed their certificates.
    pub(super) authority: PathBuf,
    pub(super) sts: String,
    pub(super) imds: String,
    pub(super) sagemaker: String,
    store: S3Server,
    servers: Vec<ServerHandle>,
}

impl SandboxServices {
    /// Starts the services in front of `mlflow`, beside an S3 that listens already.
    pub(super) fn open(
        settings: &SandboxSettings,
        directory: &Path,
        mlflow: &Endpoint,
        (issuer, store): (Issuer, S3Server),
    ) -> Result<Self, SandboxError> {
        let Certificates { authority_pem, server } = certificates::make()?;
        let authority = directory.join("authority.pem");
        std::fs::write(&authority, authority_pem).map_err(io_error("writing the certificate authority"))?;
        let lifetime = settings.credential_lifetime;
        let mut services = Self {
            gateways: Vec::new(),
            authority,
            sts: String::new(),
            imds: String::new(),
            sagemaker: String::new(),
            store,
            servers: Vec::new(),
        };
        for mode in &settings.modes {
            let target = target(*mode);
            let tally = Arc::<Tally>::default();
            let url = services.open_gateway(&target, &issuer, &tally, mlflow, directory, server.clone())?;
            services.gateways.push(TargetEndpoint { target, url, tally });
        }
        let data = web::Data::new(Sts {
            issuer: issuer.clone(),
            region: REGION.to_owned(),
            role_arn: ROLE_ARN.to_owned(),
            lifetime,
        });
        let factory = move || App::new().app_data(data.clone()).default_service(web::to(sts::handle));
        let (listener, address) = self::listener()?;
        let opened = HttpServer::new(factory)
            .workers(1)
            .tcp_nodelay(true)
            .disable_signals()
            .listen_rustls_0_23(listener, server.clone());
        services.serve(opened.map_err(io_error("opening STS"))?.run());
        services.sts = format!("https://localhost:{}", address.port());

        let targets = services.gateways.iter().map(|endpoint| endpoint.target.clone()).collect();
        let (listener, address) = self::listener()?;
        services.sagemaker = format!("https://localhost:{}", address.port());
        let data = web::Data::new(SageMaker {
            issuer: issuer.clone(),
            targets,
            url: services.sagemaker.clone(),
            mlflow: format!("{}/", mlflow.url()),
            tickets: Mutex::default(),
        });
        let factory = move || App::new().app_data(data.clone()).default_service(web::to(sagemaker::handle));
        let opened = HttpServer::new(factory).workers(1).disable_signals().listen_rustls_0_23(listener, server);
        services.serve(opened.map_err(io_error("opening the SageMaker API"))?.run());

        let tokens = Mutex::new(HashSet::new());
        let data = web::Data::new(MetadataService { issuer, region: REGION.to_owned(), lifetime, tokens });
        let factory = move || App::new().app_data(data.clone()).default_service(web::to(imds::handle));
        let (listener, address) = self::listener()?;
        let server = HttpServer::new(factory).workers(1).tcp_nodelay(true).disable_signals().listen(listener);
        services.serve(server.map_err(io_error("opening the metadata service"))?.run());
        services.imds = format!("http://{address}");
        Ok(services)
    }

    fn open_gateway(
        &mut self,
        target: &Target,
        issuer: &Issuer,
        tally: &Arc<Tally>,
        mlflow: &Endpoint,
        directory: &Path,
        tls: ServerConfig,
    ) -> Result<String, SandboxError> {
        let (target, issuer, tally, mlflow) = (target.clone(), issuer.clone(), Arc::clone(tally), mlflow.clone());
        // The dialer is made once, so that a worker cannot fail to start. Workers cannot share connections.
        let mlflow_host = HeaderValue::try_from(mlflow.authority()).expect("a host that was parsed");
        let body_limits = body_limits(directory);
        let mlflow = dialer(&mlflow)?;
        let factory = move || {
            let gateway = Gateway {
                target: target.clone(),
                issuer: issuer.clone(),
                tally: Arc::clone(&tally),
                body_limits: body_limits.clone(),
                mlflow: client(mlflow.clone()),
                mlflow_host: mlflow_host.clone(),
            };
            App::new().app_data(Rc::new(gateway)).default_service(web::to(gateway::handle))
        };
        let (listener, address) = listener()?;
        let server =
            HttpServer::new(factory).workers(1).tcp_nodelay(true).disable_signals().listen_rustls_0_23(listener, tls);
        self.serve(server.map_err(io_error("opening the MLflow endpoint"))?.run());
        Ok(format!("https://localhost:{}", address.port()))
    }

    fn serve(&mut self, server: Server) {
        self.servers.push(server.handle());
        rt::spawn(server);
    }

    /// Returns the URL of S3.
    pub(super) fn s3(&self) -> &str {
        &self.store.url
    }

    /// Returns the variables that make an AWS SDK obtain its credentials here only.
    pub(super) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.clone()),
            ("AWS_ENDPOINT_URL_STS", self.sts.clone()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ]
    }

    /// Stops the services, and returns the verified and rejected requests of each.
    pub(super) async fn close(self) -> (Vec<(Mode, u64, u64)>, (u64, u64)) {
        self.store.task.abort();
        for server in self.servers {
            server.stop(false).await;
        }
        let count = |endpoint: &TargetEndpoint| {
            let (verified, refused) = endpoint.tally.counts();
            (endpoint.target.arn().mode(), verified, refused)
        };
        (self.gateways.iter().map(count).collect(), self.store.tally.counts())
    }
}

/// Starts S3. This happens before MLflow starts, which reads from it.
pub(super) fn open_store(
    settings: &SandboxSettings,
    directory: &Path,
    issuer: &Issuer,
) -> Result<S3Server, SandboxError> {
    let objects = settings.data.clone().unwrap_or_else(|| directory.to_owned()).join("s3");
    s3::open(listener()?.0, &objects, issuer).map_err(io_error("opening S3"))
}

/// Returns the variables with which the MLflow server reads artifacts from S3, as managed MLflow does with its own role. The
/// credentials outlive the sandbox, because a running server cannot get new ones.
pub(super) fn mlflow_environment(issuer: &Issuer, store: &S3Server) -> [(&'static str, String); 9] {
    let role = issuer.issue(Principal::Role, clock::now(), MLFLOW_LIFETIME);
    [
        ("AWS_ACCESS_KEY_ID", role.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", role.secret_access_key),
        ("AWS_SESSION_TOKEN", role.session_token),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL_S3", store.url.clone()),
        ("MLFLOW_S3_ENDPOINT_URL", store.url.clone()),
    ]
}

/// Returns the name of a target in paths and messages.
#[must_use]
pub fn target_name(mode: Mode) -> &'static str {
    match mode {
        Mode::TrackingServer => "tracking",
        Mode::App => "serverless",
    }
}

fn target(mode: Mode) -> Target {
    let arn = match mode {
        Mode::TrackingServer => TRACKING_SERVER_ARN,
        Mode::App => APP_ARN,
    };
    Target::new(Arn::parse(arn).expect("a valid constant"))
}

fn listener() -> Result<(TcpListener, SocketAddr), SandboxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io_error("listening"))?;
    let address = listener.local_addr().map_err(io_error("listening"))?;
    Ok((listener, address))
}

fn body_limits(directory: &Path) -> BodyLimits {
    BodyLimits {
        size_limit: u64::MAX,
        memory_limit: 1 << 20,
        memory: Budget::new(BudgetKind::Memory, 64 << 20),
        arriving: Budget::new(BudgetKind::Arriving, u64::MAX),
        gathering: Budget::new(BudgetKind::Gathering, 32 << 20),
        disk: Budget::new(BudgetKind::Disk, u64::MAX),
        directory: directory.into(),
        timing: Timing { idle_timeout: Duration::from_mins(1), total: Duration::from_hours(1) },
        streams_large: false,
    }
}
