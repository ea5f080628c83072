//! `appliance deploy`: the command line of the stacks.

mod terminal;

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use toml::de::{DeTable, DeValue};

use super::examples;
use super::failure::{Class, Failure};
use super::output::{say, show};
use super::trust::Trust;
use super::{subjects, values};
use crate::api::Transport;
use crate::api::cloudformation::{Change, CloudFormation, Pairs};
use crate::api::parameters::Store;
use crate::aws::credentials::{Current, Source};
use crate::aws::{regional_host, sdk};
use crate::deploy::{self, DeployError, Kind, Mode, Outlook, Planned, Settings};
use crate::http::client::{ClientSettings, Dialer, Endpoint};
use terminal::{Terminal, answer, ask, delayed};

/// Who has not connected by then tries again.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A change set with many resources takes CloudFormation some seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Launch the appliance on AWS: network, managed MLflow, load balancer and instances, as CloudFormation stacks
#[derive(Debug, clap::Args)]
#[command(after_help = examples::DEPLOY)]
pub(super) struct Deploy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what `apply` would change, and change nothing
    #[command(after_help = examples::DEPLOY_PLAN)]
    Plan {
        #[command(flatten)]
        common: Common,
        /// Print one JSON object as well: what would become of each stack
        #[arg(long)]
        json: bool,
    },
    /// Make or change the stacks, one after the other, each after showing what would change and asking
    #[command(after_help = examples::DEPLOY_APPLY)]
    Apply {
        #[command(flatten)]
        common: Common,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print one JSON object in the end: the outputs of the appliance's stack
        #[arg(long)]
        json: bool,
    },
    /// Remove a mode's stacks; says what is kept
    #[command(after_help = examples::DEPLOY_DESTROY)]
    Destroy {
        #[command(flatten)]
        common: Common,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// The stacks of both modes as well, unless the other mode needs them
        #[arg(long)]
        shared: bool,
    },
    /// Show the stacks and how they are
    #[command(after_help = examples::DEPLOY_STATUS)]
    Status {
        #[command(flatten)]
        common: Common,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Let AWS find out what was changed behind the templates' back, which takes a while
        #[arg(long)]
        drift: bool,
    },
    /// Show the stacks' outputs
    #[command(after_help = examples::DEPLOY_OUTPUTS)]
    Outputs {
        #[command(flatten)]
        common: Common,
        /// Print one JSON object
        #[arg(long, conflicts_with = "env")]
        json: bool,
        /// Print the line for a shell that tells MLflow's clients where to go
        #[arg(long)]
        env: bool,
    },
    /// Estimate what it costs a month, by list prices of us-east-1; asks AWS nothing
    #[command(after_help = examples::DEPLOY_COST)]
    Cost {
        #[command(flatten)]
        common: Common,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write the templates into a directory, for other tools
    #[command(after_help = examples::DEPLOY_EXPORT)]
    Export {
        /// Where to; it is made if it is missing
        directory: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Which managed MLflow: `tracking` (a server) or `serverless` (an app); you are asked, if you are there
    #[arg(long, env = "APPLIANCE_DEPLOY_MODE", hide_env_values = true, value_name = "MODE", value_parser = ["tracking", "serverless"])]
    mode: Option<String>,
    /// What the names of all stacks begin with
    #[arg(long, env = "APPLIANCE_DEPLOY_PREFIX", hide_env_values = true, default_value = "mlflow", value_name = "NAME", value_parser = prefix)]
    prefix: String,
    /// Where to [default: the region of the AWS configuration]
    #[arg(long, env = "AWS_REGION", hide_env_values = true, value_name = "REGION")]
    region: Option<String>,
    /// A SageMaker Studio domain as well
    #[arg(long)]
    domain: bool,
    /// Value of a template's parameter; wins over the file
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// TOML file with values of parameters: `Name = "value"`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to wait for one stack after the other
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = values::duration)]
    timeout: Duration,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Deploy {
    /// Does what was asked.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Export { directory } => export(&directory),
            Action::Cost { common, json } => cost(&common, json),
            Action::Plan { common, json } => plan(common, json),
            Action::Apply { common, yes, json } => {
                let outputs = with(common, async |settings| deploy::apply(settings, &mut Terminal { yes }).await)?;
                if json {
                    show(&json!(outputs).to_string());
                } else if let Some(url) = outputs.get("Url") {
                    show(&format!("export MLFLOW_TRACKING_URI={url}"));
                }
                Ok(())
            }
            Action::Destroy { common, yes, shared } => {
                with(common, async |settings| deploy::destroy(settings, shared, &mut Terminal { yes }).await)
            }
            Action::Status { common, json, drift } => status(common, json, drift),
            Action::Outputs { common, json, env } => outputs(common, json, env),
        }
    }
}

fn export(directory: &PathBuf) -> Result<(), Failure> {
    let written = fs::create_dir_all(directory).and_then(|()| {
        Kind::ALL.into_iter().try_for_each(|kind| {
            let path = directory.join(format!("{}.yaml", kind.name()));
            fs::write(&path, kind.text())?;
            say(&format!("wrote {}", path.display()));
            Ok(())
        })
    });
    written.map_err(|error| Failure::new(Class::Failed, &error, Some("make room, or name a writable directory")))
}

fn plan(common: Common, json: bool) -> Result<(), Failure> {
    let all = with(common, async |settings| deploy::plan(settings, &mut Terminal { yes: true }).await)?;
    let is_any = all.iter().any(|one| !matches!(one.outlook, Outlook::Same));
    if json {
        let stacks = all.into_iter().map(|Planned { stack, outlook }| {
            let (action, changes) = match outlook {
                Outlook::New(additions) => ("create", additions),
                Outlook::Same => ("none", Vec::new()),
                Outlook::Changes(changes) => ("change", changes),
            };
            let changes: Vec<_> = changes.iter().map(described).collect();
            (stack, json!({"action": action, "changes": changes}))
        });
        show(&serde_json::Value::Object(stacks.collect()).to_string());
    }
    if is_any {
        say("nothing was changed; `appliance deploy apply` would do this");
        return Err(Failure::silent(Class::Changes));
    }
    Ok(())
}

fn described(change: &Change) -> serde_json::Value {
    let properties: Vec<&String> = change.properties.iter().map(|(name, _)| name).collect();
    json!({
        "action": change.action,
        "resource": change.logical_resource_id,
        "type": change.resource_type,
        "replacement": change.replacement,
        "properties": properties,
        "permissions": deploy::is_permission(&change.resource_type),
    })
}

fn cost(common: &Common, json: bool) -> Result<(), Failure> {
    let given = common.given()?;
    let items = deploy::cost(&given, common.domain).map_err(|error| failure(&error))?;
    let cents = |dollars: f64| (dollars * 100.0).round() / 100.0;
    let sum = cents(items.iter().filter_map(|item| item.dollars).sum());
    if json {
        let items = items.iter().map(|item| json!({"what": item.what, "dollars": item.dollars.map(cents)}));
        let items: Vec<_> = items.collect();
        show(&json!({"estimate": true, "currency": "USD", "per": "month", "sum": sum, "items": items}).to_string());
        return Ok(());
    }
    for deploy::Item { what, dollars } in &items {
        show(&match dollars {
            Some(dollars) => format!("{dollars:9.2}  {what}"),
            None => format!("        ?  {what}"),
        });
    }
    show(&format!("{sum:9.2}  US dollars a month: an ESTIMATE, without data transfer, logs and managed MLflow itself"));
    Ok(())
}

fn status(common: Common, json: bool, drift: bool) -> Result<(), Failure> {
    let reports = with(common, async |settings| deploy::report(settings, drift).await)?;
    if json {
        let all = reports
            .iter()
            .map(|one| (one.stack.clone(), json!({"status": one.status, "reason": one.reason, "drifted": one.drifted})))
            .collect::<serde_json::Map<_, _>>();
        show(&serde_json::Value::Object(all).to_string());
        return Ok(());
    }
    for one in reports {
        let reason = one.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
        let drift = one.drifted.filter(|drifted| !drifted.is_empty());
        let drift = drift.map(|drifted| format!("  changed by hand: {}", drifted.join(", "))).unwrap_or_default();
        show(&format!("{:32} {}{reason}{drift}", one.stack, one.status.as_deref().unwrap_or("-")));
    }
    Ok(())
}

fn outputs(common: Common, json: bool, env: bool) -> Result<(), Failure> {
    let reports = with(common, async |settings| deploy::report(settings, false).await)?;
    if env {
        let url = reports.iter().find_map(|one| one.outputs.get("Url"));
        let url = url.ok_or_else(|| {
            Failure::said(
                Class::Failed,
                "there is no appliance of this mode yet",
                Some("make it: `appliance deploy apply`"),
            )
        })?;
        show(&format!("export MLFLOW_TRACKING_URI={url}"));
    } else if json {
        let all: serde_json::Map<_, _> = reports.into_iter().map(|one| (one.stack, json!(one.outputs))).collect();
        show(&serde_json::Value::Object(all).to_string());
    } else {
        for one in reports {
            show(&one.stack);
            one.outputs.iter().for_each(|(key, value)| show(&format!("  {key:28} {value}")));
        }
    }
    Ok(())
}

/// Does something with the stacks of a set, with credentials that stay fresh.
fn with<T>(common: Common, act: impl AsyncFnOnce(&mut Settings<'_>) -> Result<T, DeployError>) -> Result<T, Failure> {
    let given = common.given()?;
    let mode = mode(common.mode.as_deref())?;
    actix_web::rt::System::new().block_on(async {
        let Link { transport, endpoint, region, current, source } = connect(&common).await?;
        let systems_manager =
            subjects::service("SSM").unwrap_or_else(|| Endpoint::https(regional_host("ssm", &region)));
        let mut settings = Settings {
            cloud: CloudFormation {
                transport: &transport,
                endpoint,
                region: &region,
                credentials: &current,
                delayed: &delayed,
            },
            store: Store { transport: &transport, endpoint: systems_manager, region: &region, credentials: &current },
            prefix: common.prefix,
            mode,
            has_domain: common.domain,
            given,
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
    source: Source,
}

async fn connect(common: &Common) -> Result<Link, Failure> {
    let Trust { tls, authorities } = Trust::read(common.ca_file.as_deref())?;
    let region = match common.region.clone().filter(|region| !region.is_empty()) {
        Some(region) => region,
        None => sdk::default_region().await.ok_or_else(|| {
            Failure::said(Class::Configuration, "no region is known", Some("say `--region`, or set AWS_REGION"))
        })?,
    };
    let source = Source::new(&sdk::load(&region, authorities.as_deref()).await, None);
    let first = source.obtain(None).await;
    let current = Current::holding(first.map_err(|error| Failure::new(Class::Failed, &error, Some(error.hint())))?);
    let endpoint = subjects::service("CLOUDFORMATION")
        .unwrap_or_else(|| Endpoint::https(regional_host("cloudformation", &region)));
    let transport = Transport {
        dialer: Dialer::new(endpoint.clone(), &tls, CONNECT_LIMIT, CONNECT_LIMIT),
        settings: ClientSettings::for_one_exchange(ANSWER_LIMIT),
    };
    Ok(Link { transport, endpoint, region, current, source })
}

/// What was said, or is answered.
fn mode(said: Option<&str>) -> Result<Mode, Failure> {
    let asked = || {
        io::stdin().is_terminal().then(|| {
            ask("Which managed MLflow, tracking or serverless?");
            answer()
        })
    };
    match said.map(ToOwned::to_owned).or_else(asked).as_deref() {
        Some("tracking") => Ok(Mode::Tracking),
        Some("serverless") => Ok(Mode::Serverless),
        _ => {
            let fix = "say `--mode tracking` or `--mode serverless`";
            Err(Failure::said(Class::Configuration, "it is not said which managed MLflow is meant", Some(fix)))
        }
    }
}

fn failure(error: &DeployError) -> Failure {
    let class = match error {
        DeployError::Parameters(..) | DeployError::Unknown(_) | DeployError::Region(_) => Class::Configuration,
        _ => Class::Failed,
    };
    Failure::new(class, error, error.hint())
}

impl Common {
    /// The values of parameters: those of the file, beneath those of the command line.
    fn given(&self) -> Result<Pairs, Failure> {
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

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
