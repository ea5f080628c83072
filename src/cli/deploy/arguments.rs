//! The arguments of all commands for stacks, and the connection to CloudFormation that they configure.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use toml::de::DeTable;

use super::super::command_error::{CommandError, ExitClass};
use super::super::output::ask;
use super::super::{probe_settings, values};
use super::serve_configuration;
use super::terminal::delayed;
use crate::api::account::Account;
use crate::api::cloudformation::{self, CloudFormation, Pairs};
use crate::api::parameters::ParameterStore;
use crate::api::service::QueryService;
use crate::aws::regional_host;
use crate::aws::role::check_arn;
use crate::cli::aws_connection::{AwsArguments, AwsConnection};
use crate::cli::consent::answer;
use crate::deploy::{Compute, DeployError, DeployMode, DeploySettings};
use crate::http::client::Endpoint;
use crate::scalar;

#[derive(Debug, clap::Args)]
pub(super) struct StackArguments {
    /// The kind of managed MLflow: `tracking` (a server) or `serverless` (an app); on a terminal, you are asked
    #[arg(long, env = "APPLIANCE_DEPLOY_MODE", hide_env_values = true, value_name = "MODE", value_parser = ["tracking", "serverless"])]
    pub(super) mode: Option<String>,
    /// The kind of compute: `instances` (with the AMI) or `fargate` (with the image of a container) [default: that of the deployment; `instances` for a new one]
    #[arg(long, env = "APPLIANCE_DEPLOY_COMPUTE", hide_env_values = true, value_name = "KIND", value_parser = ["instances", "fargate"])]
    pub(super) compute: Option<String>,
    /// The prefix of all stack names
    #[arg(long, env = "APPLIANCE_DEPLOY_PREFIX", hide_env_values = true, default_value = "mlflow", value_name = "NAME", value_parser = prefix)]
    pub(super) prefix: String,
    /// The AWS region [default: the region of the AWS configuration]
    #[arg(long, env = "AWS_REGION", hide_env_values = true, value_name = "REGION")]
    pub(super) region: Option<String>,
    /// Also create a SageMaker Studio domain
    #[arg(long)]
    pub(super) domain: bool,
    /// The value of a template's parameter, or with `@FILE` the content of a file; wins over `--config`
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) parameters: Vec<(String, String)>,
    /// The TOML file with values of parameters: `Name = "value"`
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A tag for all stacks and for all their resources that accept tags; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) tags: Vec<(String, String)>,
    /// The ARN of the role that CloudFormation uses [default: your own identity]
    #[arg(long, env = "APPLIANCE_DEPLOY_ROLE_ARN", hide_env_values = true, value_name = "ARN", value_parser = role)]
    pub(super) role_arn: Option<String>,
    /// The longest wait for all stacks together
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = values::duration)]
    pub(super) timeout: Duration,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

/// Hides arguments that have no effect on a command. All commands accept them, so that one list of arguments fits all.
fn hiding(argument: clap::Arg, hidden: &[&str]) -> clap::Arg {
    let is_hidden = hidden.contains(&argument.get_id().as_str());
    if is_hidden { argument.hide(true) } else { argument }
}

/// The deletion of stacks needs no values of parameters.
pub(super) fn without_values(argument: clap::Arg) -> clap::Arg {
    if argument.get_id() == "compute" {
        return argument.help(
            "The kind of compute to delete, `instances` or `fargate`, together with the stacks that the other kind does not \
             need [default: both]",
        );
    }
    hiding(argument, &["parameters", "config", "tags"])
}

/// A look at the stacks changes nothing and waits for nothing.
pub(super) fn for_looking(argument: clap::Arg) -> clap::Arg {
    if argument.get_id() == "compute" {
        return argument.help("The kind of compute: `instances` or `fargate` [default: those of the deployment]");
    }
    hiding(argument, &["parameters", "config", "tags", "role_arn", "timeout"])
}

/// An estimate does not ask AWS.
pub(super) fn for_cost(argument: clap::Arg) -> clap::Arg {
    if argument.get_id() == "mode" {
        return argument.help("The kind of managed MLflow: `tracking` (a server) or `serverless` (an app)");
    }
    if argument.get_id() == "compute" {
        return argument.help("The kind of compute: `instances` (with the AMI) or `fargate` (with the image of a container) [default: instances]");
    }
    hiding(argument, &["prefix", "region", "tags", "role_arn", "timeout", "ca_file"])
}

/// Runs an action on the stacks of a set, while the credentials are renewed.
pub(super) fn with<T>(
    arguments: StackArguments,
    act: impl AsyncFnOnce(&mut DeploySettings<'_>) -> Result<T, DeployError>,
) -> Result<T, CommandError> {
    let given = arguments.given()?;
    let mode = mode(arguments.mode.as_deref())?;
    let compute = arguments.compute();
    actix_web::rt::System::new().block_on(async {
        let aws = AwsArguments { region: arguments.region.clone(), ca_file: arguments.ca_file.clone() };
        let region = aws.region().await?;
        let endpoint = endpoint_of("CLOUDFORMATION", "cloudformation", &region);
        let AwsConnection { transport, credentials: current, source } = aws.connect(&region, &endpoint).await?;
        let (transport, credentials, region) = (&transport, &current, region.as_str());
        let place = |variable: &str, host: &str| endpoint_of(variable, host, region);
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
            prefix: arguments.prefix,
            mode,
            compute,
            has_domain: arguments.domain,
            given,
            tags: arguments.tags.into_iter().collect(),
            role: arguments.role_arn,
            deadline: Instant::now() + arguments.timeout,
        };
        let fresh = current.keep_renewed(&source);
        tokio::select! {
            result = act(&mut settings) => result.map_err(|error| explained(&error)),
            () = fresh => Err(CommandError::of(ExitClass::Failed, "cannot renew the credentials", Some("sign in again and repeat the command; it continues where it stopped"))),
        }
    })
}

/// The endpoint of a service: the one of a variable, or the region's.
fn endpoint_of(variable: &str, host: &str, region: &str) -> Endpoint {
    probe_settings::service(variable).unwrap_or_else(|| match host {
        // IAM is the only one of these services that has no region.
        "iam" => Endpoint::https("iam.amazonaws.com".to_owned()),
        host => Endpoint::https(regional_host(host, region)),
    })
}

/// The mode of the argument, or the answer to a question on a terminal.
fn mode(given: Option<&str>) -> Result<DeployMode, CommandError> {
    let asked = || {
        io::stdin().is_terminal().then(|| {
            ask("Which managed MLflow, tracking or serverless?");
            answer()
        })
    };
    given.map(ToOwned::to_owned).or_else(asked).as_deref().and_then(DeployMode::named).ok_or_else(|| {
        let hint = "set `--mode tracking` or `--mode serverless`";
        CommandError::of(ExitClass::Usage, "the kind of managed MLflow is not set", Some(hint))
    })
}

pub(super) fn explained(error: &DeployError) -> CommandError {
    let class = match error {
        DeployError::Parameters(..) | DeployError::Unknown(_) | DeployError::Region(_) => ExitClass::Configuration,
        _ => ExitClass::Failed,
    };
    CommandError::new(class, error, error.hint())
}

impl StackArguments {
    /// The kind of compute, if one is chosen.
    pub(super) fn compute(&self) -> Option<Compute> {
        self.compute.as_deref().and_then(Compute::named)
    }

    /// The values of parameters. Those of the command line win over those of the file.
    pub(super) fn given(&self) -> Result<Pairs, CommandError> {
        let mut given = Pairs::new();
        if let Some(path) = &self.config {
            let rejected = |text: &str| {
                let text = format!("{}: {text}", path.display());
                CommandError::of(
                    ExitClass::Configuration,
                    &text,
                    Some("write lines like `InstanceType = \"t4g.small\"`"),
                )
            };
            let text = fs::read_to_string(path).map_err(|error| {
                let text = format!("cannot read `{}`: {error}", path.display());
                CommandError::of(ExitClass::Configuration, &text, Some("check the path of `--config`"))
            })?;
            let table = DeTable::parse(&text).map_err(|error| rejected(error.message()))?;
            for (name, value) in table.get_ref() {
                let name = name.get_ref().to_string();
                let text = scalar::from_toml(value.get_ref())
                    .ok_or_else(|| rejected(&format!("`{name}` must be a string, a number or true/false")))?;
                given.insert(name, text);
            }
        }
        for (name, value) in &self.parameters {
            let value = match value.strip_prefix('@') {
                Some(path) => fs::read_to_string(path).map_err(|error| {
                    CommandError::of(ExitClass::Usage, &format!("--parameter {name}: `{path}`: {error}"), None)
                })?,
                None => value.clone(),
            };
            given.insert(name.clone(), value);
        }
        serve_configuration::normalize(&mut given);
        serve_configuration::check(&given, self.compute())?;
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
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, or NAME=@FILE for the content of a file")?;
    Ok((name.to_owned(), value.to_owned()))
}
