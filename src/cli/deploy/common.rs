//! What every action on stacks is told, and the way to CloudFormation that it makes of it.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use toml::de::{DeTable, DeValue};

use super::super::failure::{Class, Failure};
use super::super::output::ask;
use super::super::trust::Trust;
use super::super::{subjects, values};
use super::terminal::{answer, delayed};
use crate::api::Transport;
use crate::api::account::Account;
use crate::api::cloudformation::{self, CloudFormation, Pairs};
use crate::api::parameters::ParameterStore;
use crate::api::service::QueryService;
use crate::aws::credentials::Current;
use crate::aws::role::check_arn;
use crate::aws::source::CredentialSource;
use crate::aws::{regional_host, sdk};
use crate::deploy::{DeployError, DeployMode, DeploySettings};
use crate::http::client::{Dialer, Endpoint};

/// Who has not connected by then tries again.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A change set with many resources takes CloudFormation some seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Which managed MLflow: `tracking` (a server) or `serverless` (an app); you are asked, if you are there
    #[arg(long, env = "APPLIANCE_DEPLOY_MODE", hide_env_values = true, value_name = "MODE", value_parser = ["tracking", "serverless"])]
    pub(super) mode: Option<String>,
    /// What the names of all stacks begin with
    #[arg(long, env = "APPLIANCE_DEPLOY_PREFIX", hide_env_values = true, default_value = "mlflow", value_name = "NAME", value_parser = prefix)]
    pub(super) prefix: String,
    /// Where to [default: the region of the AWS configuration]
    #[arg(long, env = "AWS_REGION", hide_env_values = true, value_name = "REGION")]
    pub(super) region: Option<String>,
    /// A SageMaker Studio domain as well
    #[arg(long)]
    pub(super) domain: bool,
    /// Value of a template's parameter; wins over the file
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) parameters: Vec<(String, String)>,
    /// TOML file with values of parameters: `Name = "value"`
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Tag of all stacks and of everything in them that can bear one; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) tags: Vec<(String, String)>,
    /// ARN of the role that CloudFormation acts as [default: it acts as you]
    #[arg(long, env = "APPLIANCE_DEPLOY_ROLE_ARN", hide_env_values = true, value_name = "ARN", value_parser = role)]
    pub(super) role_arn: Option<String>,
    /// How long to wait for one stack after the other
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = values::duration)]
    pub(super) timeout: Duration,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

/// Does something with the stacks of a set, with credentials that stay fresh.
pub(super) fn with<T>(
    common: Common,
    act: impl AsyncFnOnce(&mut DeploySettings<'_>) -> Result<T, DeployError>,
) -> Result<T, Failure> {
    let given = common.given()?;
    let mode = mode(common.mode.as_deref())?;
    actix_web::rt::System::new().block_on(async {
        let Link { transport, endpoint, region, current, source } = connect(&common).await?;
        let (transport, credentials, region) = (&transport, &current, region.as_str());
        let place = |variable: &str, host: &str| place(variable, host, region);
        let mut settings = DeploySettings {
            cloud: CloudFormation(QueryService {
                about: cloudformation::ABOUT,
                transport,
                endpoint,
                region,
                credentials,
                delayed: &delayed,
            }),
            account: Account { transport, region, credentials, delayed: &delayed, place: &place },
            store: ParameterStore { transport, endpoint: place("SSM", "ssm"), region, credentials },
            prefix: common.prefix,
            mode,
            has_domain: common.domain,
            given,
            tags: common.tags.into_iter().collect(),
            role: common.role_arn,
            deadline: Instant::now() + common.timeout,
        };
        let fresh = current.keep_fresh(&source);
        tokio::select! {
            result = act(&mut settings) => result.map_err(|error| failure(&error)),
            () = fresh => Err(Failure::said(Class::Failed, "the credentials cannot be kept fresh", Some("sign in again, and repeat the command; it takes up where it is"))),
        }
    })
}

/// A way to CloudFormation, and somebody to go it as.
struct Link {
    transport: Transport,
    endpoint: Endpoint,
    region: String,
    current: Current,
    source: CredentialSource,
}

async fn connect(common: &Common) -> Result<Link, Failure> {
    let Trust { tls, egress } = Trust::read(common.ca_file.as_deref())?;
    let region = match common.region.clone().filter(|region| !region.is_empty()) {
        Some(region) => region,
        None => sdk::default_region().await.ok_or_else(|| {
            Failure::said(Class::Configuration, "no region is known", Some("say `--region`, or set AWS_REGION"))
        })?,
    };
    let source = CredentialSource::new(&sdk::load(&region, &egress).await, None);
    let first = source.obtain(None).await;
    let current = Current::holding(first.map_err(|error| Failure::new(Class::Failed, &error, Some(error.hint())))?);
    let endpoint = place("CLOUDFORMATION", "cloudformation", &region);
    let transport = Transport {
        dialer: Dialer::new(endpoint.clone(), &tls, CONNECT_LIMIT, CONNECT_LIMIT).through(&egress.proxies),
        exchange_timeout: ANSWER_LIMIT,
    };
    Ok(Link { transport, endpoint, region, current, source })
}

/// Where a service is: where a variable says, or in the region.
fn place(variable: &str, host: &str, region: &str) -> Endpoint {
    subjects::service(variable).unwrap_or_else(|| match host {
        // The one service of these that has no region.
        "iam" => Endpoint::https("iam.amazonaws.com".to_owned()),
        host => Endpoint::https(regional_host(host, region)),
    })
}

/// What was said, or is answered.
fn mode(said: Option<&str>) -> Result<DeployMode, Failure> {
    let asked = || {
        io::stdin().is_terminal().then(|| {
            ask("Which managed MLflow, tracking or serverless?");
            answer()
        })
    };
    match said.map(ToOwned::to_owned).or_else(asked).as_deref() {
        Some("tracking") => Ok(DeployMode::Tracking),
        Some("serverless") => Ok(DeployMode::Serverless),
        _ => {
            let fix = "say `--mode tracking` or `--mode serverless`";
            Err(Failure::said(Class::Configuration, "it is not said which managed MLflow is meant", Some(fix)))
        }
    }
}

pub(super) fn failure(error: &DeployError) -> Failure {
    let class = match error {
        DeployError::Parameters(..) | DeployError::Unknown(_) | DeployError::Region(_) => Class::Configuration,
        _ => Class::Failed,
    };
    Failure::new(class, error, error.hint())
}

impl Common {
    /// The values of parameters: those of the file, beneath those of the command line.
    pub(super) fn given(&self) -> Result<Pairs, Failure> {
        let mut given = Pairs::new();
        if let Some(path) = &self.config {
            let refused = |what: &str| {
                let what = format!("{}: {what}", path.display());
                Failure::said(Class::Configuration, &what, Some("write lines such as `InstanceType = \"t4g.small\"`"))
            };
            let text = fs::read_to_string(path).map_err(|error| refused(&error.to_string()))?;
            let table = DeTable::parse(&text).map_err(|error| refused(error.message()))?;
            for (name, value) in table.get_ref() {
                let name = name.get_ref().to_string();
                let text = match value.get_ref() {
                    DeValue::String(text) => text.to_string(),
                    DeValue::Integer(number) => number.to_string(),
                    DeValue::Float(number) => number.to_string(),
                    DeValue::Boolean(truth) => truth.to_string(),
                    _ => return Err(refused(&format!("`{name}` is neither text, nor a number, nor true or false"))),
                };
                given.insert(name, text);
            }
        }
        given.extend(self.parameters.iter().cloned());
        Ok(given)
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 20
        && text.starts_with(|one: char| one.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name { Ok(text.to_owned()) } else { Err("at most 20 lower-case letters, digits and hyphens".to_owned()) }
}

fn role(text: &str) -> Result<String, String> {
    check_arn(text).map(|()| text.to_owned()).map_err(|_| "write arn:aws:iam::111122223333:role/NAME".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
