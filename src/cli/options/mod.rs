//! What `serve` can be told: one struct that is its flags, its environment variables and its TOML keys at once.
//!
//! Every value is kept as text with the place it came from; [`super::settings`] gives it meaning and reports all that
//! is wrong together. The key of a field is its name with hyphens: `--body-size-limit` is `body-size-limit = …` and
//! `APPLIANCE_BODY_SIZE_LIMIT`. Three variables keep the names that the AWS sample uses.

mod given;
mod names;

use std::collections::BTreeMap;

use clap::Args;

pub(super) use self::given::{Given, Place};
pub(super) use self::names::{key, similar};

/// Defines the struct, and what lets its fields be reached by name.
macro_rules! options {
    ($(#[doc = $help:literal] $(#[doc = $more:literal])* #[arg($($arg:tt)*)] $field:ident,)+) => {
        /// Options of `serve`. All are optional here; defaults and requirements are in `settings`.
        #[derive(Args, Clone, Debug, Default)]
        pub(crate) struct ServeOptions {
            $(#[doc = $help] $(#[doc = $more])* #[arg(long, hide_env_values = true, $($arg)*)] pub(crate) $field: Option<Given>,)+
            /// The `[[target]]` tables of the file.
            #[arg(skip)]
            pub(crate) targets: Vec<TargetOptions>,
            /// The `[[caller]]` tables of the file.
            #[arg(skip)]
            pub(crate) callers: Vec<CallerOptions>,
        }

        impl ServeOptions {
            /// The names of all fields.
            pub(crate) const FIELDS: &[&str] = &[$(stringify!($field)),+];

            fn slot(&mut self, field: &str) -> Option<&mut Option<Given>> {
                match field {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

options! {
    /// Address and port to listen on [default: 127.0.0.1:5000]
    #[arg(env = "APPLIANCE_LISTEN", value_name = "ADDRESS:PORT", help_heading = "Listener")]
    listen,
    /// PEM file of the certificate chain with which TLS is spoken; reloaded while running [default: no TLS]
    #[arg(env = "APPLIANCE_TLS_CERTIFICATE", value_name = "FILE", help_heading = "Listener")]
    tls_certificate,
    /// PEM file of its private key; or `credential:<name>` of systemd, as for the other two
    #[arg(env = "APPLIANCE_TLS_KEY", value_name = "FILE", help_heading = "Listener")]
    tls_key,
    /// PEM file of the authorities of client certificates, whose holders are granted roles by `[[caller]]`
    #[arg(env = "APPLIANCE_TLS_CLIENT_CA", value_name = "FILE", help_heading = "Listener")]
    tls_client_ca,
    /// Whether a client certificate is `required` or `optional` [default: optional]
    #[arg(env = "APPLIANCE_TLS_CLIENT_CERTIFICATE", value_name = "HOW", help_heading = "Listener")]
    tls_client_certificate,
    /// Names, comma-separated, by which callers may address the appliance besides `localhost`
    ///
    /// Guards against DNS rebinding. By default only this machine's own names when listening on loopback, and any
    /// name otherwise.
    #[arg(env = "APPLIANCE_ALLOWED_HOSTS", value_name = "NAMES", help_heading = "Listener")]
    allowed_hosts,
    /// Worker threads [default: one per core]
    #[arg(env = "APPLIANCE_WORKERS", value_name = "NUMBER", help_heading = "Listener")]
    workers,
    /// Callers' connections per worker; more wait [default: 25000]
    #[arg(env = "APPLIANCE_CONNECTION_LIMIT", value_name = "NUMBER", help_heading = "Listener")]
    connection_limit,
    /// How long an idle caller's connection is kept; longer than a load balancer's 60 s [default: 75s]
    #[arg(env = "APPLIANCE_KEEP_ALIVE", value_name = "DURATION", help_heading = "Listener")]
    keep_alive,
    /// How long a caller may take to send the head of a request [default: 10s]
    #[arg(env = "APPLIANCE_HEAD_TIMEOUT", value_name = "DURATION", help_heading = "Listener")]
    head_timeout,
    /// How long a caller may take nothing of an answer before its connection is cut [default: 60s]
    #[arg(env = "APPLIANCE_SEND_TIMEOUT", value_name = "DURATION", help_heading = "Listener")]
    send_timeout,
    /// How long running requests may take after SIGTERM [default: 30s]
    #[arg(env = "APPLIANCE_DRAIN_TIMEOUT", value_name = "DURATION", help_heading = "Listener")]
    drain_timeout,

    /// Where the access tokens are: a file, `credential:<name>` of systemd, or `ssm:` or `secretsmanager:` with a name
    ///
    /// Made with `appliance token new`; only hashes are in it. It is reloaded while the appliance runs, so tokens can be handed out and
    /// revoked without a restart.
    #[arg(env = "APPLIANCE_TOKENS", value_name = "SOURCE", help_heading = "Callers")]
    tokens,
    /// How often tokens and certificates are reloaded; SIGHUP reloads them at once [default: 1m]
    #[arg(env = "APPLIANCE_RELOAD_INTERVAL", value_name = "DURATION", help_heading = "Callers")]
    reload_interval,
    /// Let in those who present nothing; needed to listen beyond this machine without another way to tell callers apart
    ///
    /// On loopback, and without tokens, this is the default.
    #[arg(env = "APPLIANCE_ALLOW_ANONYMOUS", value_name = "BOOL", help_heading = "Callers", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_anonymous,
    /// What those who present nothing may do: `read`, `write` or `admin` [default: admin]
    #[arg(env = "APPLIANCE_ANONYMOUS_ROLE", value_name = "ROLE", help_heading = "Callers")]
    anonymous_role,
    /// How long a browser stays signed in [default: 12h]
    #[arg(env = "APPLIANCE_SESSION_LIFETIME", value_name = "DURATION", help_heading = "Callers")]
    session_lifetime,
    /// File with 32 or more random bytes that sign sessions, or `credential:<name>` of systemd; shared by several appliances [default: made at each start]
    #[arg(env = "APPLIANCE_SESSION_KEY", value_name = "FILE", help_heading = "Callers")]
    session_key,
    /// ARN of the load balancer whose `x-amzn-oidc-data` is believed; users are granted roles by `[[caller]]`
    #[arg(env = "APPLIANCE_OIDC_SIGNER", value_name = "ARN", help_heading = "Callers")]
    oidc_signer,
    /// The identity provider's issuer, as in the load balancer's rule
    #[arg(env = "APPLIANCE_OIDC_ISSUER", value_name = "URL", help_heading = "Callers")]
    oidc_issuer,
    /// The client id at the identity provider [default: any]
    #[arg(env = "APPLIANCE_OIDC_CLIENT_ID", value_name = "TEXT", help_heading = "Callers")]
    oidc_client_id,
    /// The claim that names the user, for logs and limits [default: sub]
    #[arg(env = "APPLIANCE_OIDC_NAME_CLAIM", value_name = "NAME", help_heading = "Callers")]
    oidc_name_claim,
    /// Where the load balancer's keys are published [default: the region's address at AWS]
    #[arg(env = "APPLIANCE_OIDC_KEYS_URL", value_name = "URL", help_heading = "Callers")]
    oidc_keys_url,
    /// Networks, comma-separated, that requests may come from, as in `10.0.0.0/8` [default: any]
    #[arg(env = "APPLIANCE_ALLOWED_NETWORKS", value_name = "NETWORKS", help_heading = "Callers")]
    allowed_networks,
    /// Networks of load balancers whose `X-Forwarded-For` is believed [default: none]
    #[arg(env = "APPLIANCE_TRUSTED_PROXIES", value_name = "NETWORKS", help_heading = "Callers")]
    trusted_proxies,
    /// Trusted load balancers that a request passes one after the other; each adds one address to `X-Forwarded-For` [default: 1]
    #[arg(env = "APPLIANCE_TRUSTED_HOPS", value_name = "NUMBER", help_heading = "Callers")]
    trusted_hops,

    /// What callers may not do, comma-separated, as in `experiments:delete,registered-models:*@write`
    ///
    /// Each is `resource:action` of the table in docs/reference/routes.md; `*` at the end of either stands for anything. With
    /// `@role` it holds for callers up to that role.
    #[arg(env = "APPLIANCE_DENY", value_name = "RULES", help_heading = "Policy")]
    deny,
    /// Requests per second of one caller; more get 429 [default: no limit]
    ///
    /// Rejected requests count as well, by address where the caller is not known. Of those, one address can send 100 per
    /// second, and 1,000 after a pause, even without this limit; a valid token is let in all the same.
    #[arg(env = "APPLIANCE_CALLER_RATE_LIMIT", value_name = "NUMBER", help_heading = "Policy")]
    caller_rate_limit,
    /// Requests of one caller at once, after a pause [default: twice the rate]
    #[arg(env = "APPLIANCE_CALLER_BURST_LIMIT", value_name = "NUMBER", help_heading = "Policy")]
    caller_burst_limit,
    /// Requests of one caller that run at the same time; more get 429 [default: 4000]
    #[arg(env = "APPLIANCE_CALLER_CONCURRENCY_LIMIT", value_name = "NUMBER", help_heading = "Policy")]
    caller_concurrency_limit,

    /// The managed MLflow: ARN of a tracking server or of an app (required)
    #[arg(env = "SM_MLFLOW_RESOURCE_ARN", value_name = "ARN", help_heading = "Target")]
    resource_arn,
    /// Region, cross-checked against the ARN's [default: the ARN's]
    #[arg(env = "SM_MLFLOW_AWS_REGION", value_name = "REGION", help_heading = "Target")]
    region,
    /// Call this URL instead of the region's AWS endpoint; plain http only to this machine
    #[arg(env = "APPLIANCE_UPSTREAM_ENDPOINT", value_name = "URL", help_heading = "Target")]
    upstream_endpoint,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(env = "APPLIANCE_CA_FILE", value_name = "FILE", help_heading = "Target")]
    ca_file,

    /// Role to assume before calling MLflow [default: none, the default AWS credentials sign]
    #[arg(env = "SM_MLFLOW_ROLE_ARN", value_name = "ARN", help_heading = "Identity")]
    role_arn,
    /// External id that the role's trust policy demands
    #[arg(env = "APPLIANCE_ROLE_EXTERNAL_ID", value_name = "TEXT", help_heading = "Identity")]
    role_external_id,
    /// Session name that CloudTrail shows [default: mlflow-appliance]
    #[arg(env = "APPLIANCE_ROLE_SESSION_NAME", value_name = "TEXT", help_heading = "Identity")]
    role_session_name,
    /// How long each set of the role's credentials lives, 15m to 12h [default: 1h]
    #[arg(env = "APPLIANCE_ROLE_SESSION_DURATION", value_name = "DURATION", help_heading = "Identity")]
    role_session_duration,

    /// Tell CloudTrail who the caller is, as `source-identity` or `session-tag` [default: all share one session]
    ///
    /// The role is then assumed for each caller; its trust policy has to allow `sts:SetSourceIdentity` or `sts:TagSession`.
    #[arg(env = "APPLIANCE_ROLE_CALLER", value_name = "HOW", help_heading = "Identity")]
    role_caller,

    /// Where the artifacts are, as `s3://bucket/prefix`, or `auto` to ask AWS; turns the artifact gateway on
    ///
    /// Callers then need no AWS credentials for artifacts: locations in this store are shown to them as
    /// `mlflow-artifacts:/…`, and the appliance reads and writes the objects. `auto` needs the permission
    /// `sagemaker:DescribeMlflowTrackingServer` or `sagemaker:DescribeMlflowApp`.
    #[arg(env = "APPLIANCE_ARTIFACT_STORE", value_name = "S3-URI", help_heading = "Artifacts")]
    artifact_store,
    /// How artifacts travel: `proxied`, `multipart` or `presigned-only` [default: multipart]
    ///
    /// `proxied`: all through the appliance; callers need not reach S3. `multipart`: clients that can also use presigned
    /// URLs for downloads and for large uploads. `presigned-only`: no artifact crosses the appliance.
    #[arg(env = "APPLIANCE_ARTIFACT_ACCESS", value_name = "HOW", help_heading = "Artifacts")]
    artifact_access,
    /// How long a presigned URL holds, if the credentials live that long; for a part of an upload at least an hour [default: 15m]
    #[arg(env = "APPLIANCE_ARTIFACT_URL_LIFETIME", value_name = "DURATION", help_heading = "Artifacts")]
    artifact_url_lifetime,
    /// Refuse or allow locations outside of the artifact store: `refuse` or `allow` [default: refuse]
    ///
    /// Managed MLflow reads and writes such a location with its own role, whatever the caller may do there.
    #[arg(env = "APPLIANCE_ARTIFACT_ELSEWHERE", value_name = "VERDICT", help_heading = "Artifacts")]
    artifact_elsewhere,
    /// KMS key for new objects [default: as the bucket says]
    #[arg(env = "APPLIANCE_ARTIFACT_KMS_KEY", value_name = "ARN", help_heading = "Artifacts")]
    artifact_kms_key,
    /// Call this URL instead of the region's S3 endpoint; plain http only to this machine
    #[arg(env = "APPLIANCE_S3_ENDPOINT", value_name = "URL", help_heading = "Artifacts")]
    s3_endpoint,
    /// Call this URL instead of the region's SageMaker API, as `auto` and `appliance ui` do; plain http only to this machine
    #[arg(env = "APPLIANCE_SAGEMAKER_ENDPOINT", value_name = "URL", help_heading = "Artifacts")]
    sagemaker_endpoint,

    /// Speak HTTP/2 when the upstream offers it [default: true]
    #[arg(env = "APPLIANCE_UPSTREAM_HTTP2", value_name = "BOOL", help_heading = "Upstream", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    upstream_http2,
    /// HTTP/1.1 connections per worker; beyond four times as many requests on their way more get 429 [default: 256]
    #[arg(env = "APPLIANCE_UPSTREAM_CONNECTIONS", value_name = "NUMBER", help_heading = "Upstream")]
    upstream_connections,
    /// Limit for the name and TCP [default: 5s]
    #[arg(env = "APPLIANCE_UPSTREAM_CONNECT_TIMEOUT", value_name = "DURATION", help_heading = "Upstream")]
    upstream_connect_timeout,
    /// Limit for the TLS handshake [default: 5s]
    #[arg(env = "APPLIANCE_UPSTREAM_HANDSHAKE_TIMEOUT", value_name = "DURATION", help_heading = "Upstream")]
    upstream_handshake_timeout,
    /// Longest wait for an answer to begin; below the MLflow client's 120 s [default: 110s]
    #[arg(env = "APPLIANCE_UPSTREAM_RESPONSE_TIMEOUT", value_name = "DURATION", help_heading = "Upstream")]
    upstream_response_timeout,
    /// Longest silence within an answer, event streams included [default: 5m]
    #[arg(env = "APPLIANCE_UPSTREAM_IDLE_TIMEOUT", value_name = "DURATION", help_heading = "Upstream")]
    upstream_idle_timeout,
    /// How long an unused upstream connection is kept; below the upstream's own limit [default: 50s]
    #[arg(env = "APPLIANCE_UPSTREAM_KEEP_ALIVE", value_name = "DURATION", help_heading = "Upstream")]
    upstream_keep_alive,
    /// Age at which an upstream connection is replaced [default: 1h]
    #[arg(env = "APPLIANCE_UPSTREAM_LIFETIME", value_name = "DURATION", help_heading = "Upstream")]
    upstream_lifetime,

    /// Largest request body outside of artifacts [default: 100 MiB]
    #[arg(env = "APPLIANCE_API_BODY_SIZE_LIMIT", value_name = "SIZE", help_heading = "Request bodies")]
    api_body_size_limit,
    /// Largest request body [default: 5 GiB]
    #[arg(env = "APPLIANCE_BODY_SIZE_LIMIT", value_name = "SIZE", help_heading = "Request bodies")]
    body_size_limit,
    /// Largest request body kept in memory; larger ones go to disk [default: 1 MiB]
    #[arg(env = "APPLIANCE_BODY_MEMORY_LIMIT", value_name = "SIZE", help_heading = "Request bodies")]
    body_memory_limit,
    /// Memory for all request bodies together; more go to disk [default: 64 MiB]
    ///
    /// A quarter of it is for bodies of up to 64 KiB. Of this and the disk budget, one caller can hold twice as much as
    /// is left free, and one address eight times as much.
    #[arg(env = "APPLIANCE_BODY_MEMORY_BUDGET", value_name = "SIZE", help_heading = "Request bodies")]
    body_memory_budget,
    /// Disk for all request bodies together; more get 429 [default: 10 GiB]
    #[arg(env = "APPLIANCE_BODY_DISK_BUDGET", value_name = "SIZE", help_heading = "Request bodies")]
    body_disk_budget,
    /// Directory on a real disk for large bodies [default: /var/tmp]
    #[arg(env = "APPLIANCE_SPOOL_DIRECTORY", value_name = "DIRECTORY", help_heading = "Request bodies")]
    spool_directory,
    /// Longest silence within a request body [default: 60s]
    ///
    /// Over each period of this length, a caller also has to send 1 KiB per second on average, unless the body ends.
    #[arg(env = "APPLIANCE_BODY_IDLE_TIMEOUT", value_name = "DURATION", help_heading = "Request bodies")]
    body_idle_timeout,
    /// Longest time that a caller may take to send a whole request body [default: 2h]
    #[arg(env = "APPLIANCE_BODY_TIMEOUT", value_name = "DURATION", help_heading = "Request bodies")]
    body_timeout,
    /// Pass uploads over `body-memory-limit` on while they arrive, instead of hashing them on disk first
    ///
    /// What is uploaded is then not part of the signature (`UNSIGNED-PAYLOAD`), and is protected by TLS alone. Twice as fast
    /// and without disk, but an upload that fails on the way is not tried again here. S3 takes it; whether the MLflow API
    /// does is not documented, and calls of it are rarely that large.
    #[arg(env = "APPLIANCE_UNSIGNED_PAYLOAD", value_name = "BOOL", help_heading = "Request bodies", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    unsigned_payload,

    /// Log lines for people (`text`) or machines (`json`) [default: text]
    #[arg(env = "APPLIANCE_LOG_FORMAT", value_name = "FORMAT", help_heading = "Log")]
    log_format,
    /// What to log, as in `info` or `warn,access=off` [default: info]
    #[arg(env = "APPLIANCE_LOG_FILTER", value_name = "FILTER", help_heading = "Log")]
    log_filter,
    /// Record every request as a line of JSON in this file, or on `stdout` [default: no such record]
    #[arg(env = "APPLIANCE_AUDIT_LOG", value_name = "FILE", help_heading = "Log")]
    audit_log,

    /// Where operators look in (/metrics, /status, /readyz), or `off` [default: 127.0.0.1:5090, if it is free]
    #[arg(env = "APPLIANCE_ADMIN_LISTEN", value_name = "ADDRESS:PORT", help_heading = "Admin")]
    admin_listen,
    /// Networks, comma-separated, from which they may besides this machine; needed to listen beyond it
    #[arg(env = "APPLIANCE_ADMIN_NETWORKS", value_name = "NETWORKS", help_heading = "Admin")]
    admin_networks,
    /// Has no effect any more: the appliance does not write CloudWatch's embedded metric format
    #[arg(env = "APPLIANCE_METRICS_EMF", value_name = "FILE", help_heading = "Admin")]
    metrics_emf,

    /// Send a span for each request to this OpenTelemetry collector: its URL for OTLP over HTTP, or `off` [default: off]
    ///
    /// As in `http://127.0.0.1:4318`; `/v1/traces` is added. Callers' traces are continued, and requests to AWS are spans
    /// of their own. Where this is not said, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT counts.
    #[arg(env = "APPLIANCE_OTLP_ENDPOINT", value_name = "URL", help_heading = "Traces")]
    otlp_endpoint,
    /// Share of the requests that are recorded, of those that are not in a caller's trace, from 0 to 1 [default: 1]
    ///
    /// Where the caller has a trace, it has decided. OTEL_TRACES_SAMPLER counts as well.
    #[arg(env = "APPLIANCE_OTLP_SAMPLING_RATIO", value_name = "NUMBER", help_heading = "Traces")]
    otlp_sampling_ratio,
    /// What the appliance is called in traces; also OTEL_SERVICE_NAME [default: mlflow-appliance]
    #[arg(env = "APPLIANCE_OTLP_SERVICE_NAME", value_name = "TEXT", help_heading = "Traces")]
    otlp_service_name,
    /// What else is known of it there, as in `deployment.environment.name=prod`; also OTEL_RESOURCE_ATTRIBUTES
    #[arg(env = "APPLIANCE_OTLP_RESOURCE_ATTRIBUTES", value_name = "PAIRS", help_heading = "Traces")]
    otlp_resource_attributes,
}

/// One `[[target]]` of the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct TargetOptions {
    /// Where the table begins.
    pub(crate) place: Place,
    /// What it is called.
    pub(crate) name: Option<Given>,
    /// Whether it is served at `/`.
    pub(crate) default: Option<Given>,
    /// The rest; only [`ServeOptions::FIELDS_OF_A_TARGET`].
    pub(crate) options: ServeOptions,
}

/// One `[[caller]]` of the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct CallerOptions {
    /// Where the table begins.
    pub(crate) place: Place,
    /// Its values, by their keys; only [`CallerOptions::KEYS`].
    pub(crate) values: BTreeMap<String, Given>,
}

impl CallerOptions {
    /// What may stand in it.
    pub(crate) const KEYS: &[&str] = &["certificate", "claim", "name", "role", "targets"];
}

impl ServeOptions {
    /// What can differ between targets.
    pub(crate) const FIELDS_OF_A_TARGET: &[&str] = &[
        "resource_arn",
        "region",
        "upstream_endpoint",
        "role_arn",
        "role_external_id",
        "role_session_name",
        "role_session_duration",
        "role_caller",
        "artifact_store",
        "artifact_access",
        "artifact_url_lifetime",
        "artifact_elsewhere",
        "artifact_kms_key",
        "s3_endpoint",
        "sagemaker_endpoint",
    ];
}
