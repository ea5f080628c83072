//! `appliance deploy`: its subcommands and their output.

mod arguments;
mod serve_configuration;
mod terminal;

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use url::Url;

use super::command_error::{CommandError, ExitClass};
use super::examples;
use super::output::{one_line, say, shell_word, show, show_document};
use crate::api::cloudformation::Change;
use crate::deploy::{self, Compute, CostPrice, DeployMode, PlannedChange, StackKind, StackPlan};
use arguments::{StackArguments, explained, for_cost, for_looking, with, without_values};
use terminal::Terminal;

/// Launch the appliance on AWS: network, managed MLflow, load balancer, and instances or tasks, as CloudFormation stacks
#[derive(Debug, clap::Args)]
#[command(after_help = examples::DEPLOY)]
pub(super) struct Deploy {
    #[command(subcommand)]
    command: DeployCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DeployCommand {
    /// Show the changes that `apply` would make
    #[command(after_help = examples::DEPLOY_PLAN)]
    Plan {
        #[command(flatten)]
        arguments: StackArguments,
        /// Also print one JSON object: the action for each stack and its changes
        #[arg(long)]
        json: bool,
        /// Exit with status 2 if there are changes
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Create or update the stacks one after the other; shows the changes of each stack and asks first
    #[command(after_help = examples::DEPLOY_APPLY)]
    Apply {
        #[command(flatten)]
        arguments: StackArguments,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Print one JSON object at the end: the outputs of the appliance's stack
        #[arg(long)]
        json: bool,
    },
    /// Delete the stacks of a mode, and list what is kept
    #[command(after_help = examples::DEPLOY_DESTROY, mut_args(without_values))]
    Destroy {
        #[command(flatten)]
        arguments: StackArguments,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Also delete the stacks that both modes share, unless the other mode needs them
        #[arg(long)]
        shared: bool,
    },
    /// Show the stacks and their status
    #[command(after_help = examples::DEPLOY_STATUS, mut_args(for_looking))]
    Status {
        #[command(flatten)]
        arguments: StackArguments,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Also show resources that were changed by hand; AWS needs some time to find them
        #[arg(long)]
        drift: bool,
    },
    /// Show the stacks' outputs
    #[command(after_help = examples::DEPLOY_OUTPUTS, mut_args(for_looking))]
    Outputs {
        #[command(flatten)]
        arguments: StackArguments,
        /// Print one JSON object
        #[arg(long, conflicts_with = "env")]
        json: bool,
        /// Print a shell command that sets MLFLOW_TRACKING_URI for MLflow's clients
        #[arg(long)]
        env: bool,
    },
    /// Estimate the cost of a month by list prices of us-east-1, without asking AWS
    #[command(after_help = examples::DEPLOY_COST, mut_args(for_cost))]
    Cost {
        #[command(flatten)]
        arguments: StackArguments,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write the templates into a directory, for other tools
    #[command(after_help = examples::DEPLOY_EXPORT)]
    Export {
        /// The directory; it is created if it is missing
        directory: PathBuf,
    },
}

impl Deploy {
    /// Runs the subcommand.
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self.command {
            DeployCommand::Export { directory } => export(&directory),
            DeployCommand::Cost { arguments, json } => cost(&arguments, json),
            DeployCommand::Plan { arguments, json, detailed_exitcode } => plan(arguments, json, detailed_exitcode),
            DeployCommand::Apply { arguments, yes, json } => {
                let outputs = with(arguments, async |settings| deploy::apply(settings, &mut Terminal { yes }).await)?;
                if json {
                    show_document(&json!(outputs));
                } else if let Some(url) = outputs.get("Url") {
                    show(&export_line(url)?);
                }
                Ok(())
            }
            DeployCommand::Destroy { arguments, yes, shared } => {
                with(arguments, async |settings| deploy::destroy(settings, shared, &mut Terminal { yes }).await)
            }
            DeployCommand::Status { arguments, json, drift } => status(arguments, json, drift),
            DeployCommand::Outputs { arguments, json, env } => outputs(arguments, json, env),
        }
    }
}

fn export(directory: &PathBuf) -> Result<(), CommandError> {
    let written = fs::create_dir_all(directory).and_then(|()| {
        StackKind::ALL.into_iter().try_for_each(|kind| {
            let path = directory.join(format!("{}.yaml", kind.name()));
            fs::write(&path, kind.text())?;
            say(&format!("wrote {}", path.display()));
            Ok(())
        })
    });
    written
        .map_err(|error| CommandError::new(ExitClass::Failed, &error, Some("make room, or name a writable directory")))
}

fn plan(arguments: StackArguments, json: bool, detailed_exitcode: bool) -> Result<(), CommandError> {
    let all = with(arguments, async |settings| deploy::plan(settings, &mut Terminal { yes: true }).await)?;
    let is_any = all.iter().any(|one| !matches!(one.change, PlannedChange::Same));
    if json {
        let stacks = all.into_iter().map(|StackPlan { stack, change }| {
            let (action, changes) = match change {
                PlannedChange::New(additions) => ("create", additions),
                PlannedChange::Same => ("none", Vec::new()),
                PlannedChange::Changes(changes) => ("change", changes),
            };
            let changes: Vec<_> = changes.iter().map(described).collect();
            (stack, json!({"action": action, "changes": changes}))
        });
        show_document(&serde_json::Value::Object(stacks.collect()));
    }
    if is_any {
        say("nothing was changed; `appliance deploy apply` makes these changes");
        if detailed_exitcode {
            return Err(CommandError::reported(ExitClass::Changes));
        }
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

fn cost(arguments: &StackArguments, json: bool) -> Result<(), CommandError> {
    let given = arguments.given()?;
    let mode = arguments.mode.as_deref().and_then(DeployMode::named);
    let compute = arguments.compute().unwrap_or(Compute::Instances);
    let items = deploy::cost(&given, mode, compute, arguments.domain).map_err(|error| explained(&error))?;
    let cents = |dollars: f64| (dollars * 100.0).round() / 100.0;
    let sum = cents(items.iter().filter_map(deploy::CostItem::dollars).sum());
    if json {
        let items = items.iter().map(|deploy::CostItem { what, price }| match price {
            CostPrice::Dollars(dollars) => json!({"what": what, "dollars": cents(*dollars), "price_page": null}),
            CostPrice::StatedAt(page) => json!({"what": what, "dollars": null, "price_page": page}),
        });
        let items: Vec<_> = items.collect();
        show_document(&json!({"estimate": true, "currency": "USD", "per": "month", "sum": sum, "items": items}));
        return Ok(());
    }
    for deploy::CostItem { what, price } in &items {
        show(&match price {
            CostPrice::Dollars(dollars) => format!("{dollars:9.2}  {what}"),
            CostPrice::StatedAt(page) => format!("        ?  {what}: {page}"),
        });
    }
    show(&format!(
        "{sum:9.2}  US dollars a month. This is an estimate without data transfer and without the items marked `?`; AWS \
         states their prices at the addresses above."
    ));
    Ok(())
}

fn status(arguments: StackArguments, json: bool, drift: bool) -> Result<(), CommandError> {
    let reports = with(arguments, async |settings| deploy::report(settings, drift).await)?;
    if json {
        let all = reports
            .iter()
            .map(|one| (one.stack.clone(), json!({"status": one.status, "reason": one.reason, "drifted": one.drifted})))
            .collect::<serde_json::Map<_, _>>();
        show_document(&serde_json::Value::Object(all));
        return Ok(());
    }
    for one in reports {
        let reason = one.reason.map(|reason| format!("  {}", one_line(&reason))).unwrap_or_default();
        let drift = one.drifted.filter(|drifted| !drifted.is_empty());
        let drift = drift.map(|drifted| format!("  changed by hand: {}", drifted.join(", "))).unwrap_or_default();
        show(&format!("{:32} {}{reason}{drift}", one.stack, one.status.as_deref().unwrap_or("-")));
    }
    Ok(())
}

fn outputs(arguments: StackArguments, json: bool, env: bool) -> Result<(), CommandError> {
    let reports = with(arguments, async |settings| deploy::report(settings, false).await)?;
    if env {
        let mut urls = reports.iter().filter_map(|one| one.outputs.get("Url"));
        let url = urls.next();
        if urls.next().is_some() {
            let hint = "choose one with `--compute instances` or `--compute fargate`";
            let text = "this mode has an appliance on instances and one on Fargate, with a URL each";
            return Err(CommandError::of(ExitClass::Failed, text, Some(hint)));
        }
        let url = url.ok_or_else(|| {
            CommandError::of(
                ExitClass::Failed,
                "this mode has no appliance yet",
                Some("create it with `appliance deploy apply`"),
            )
        })?;
        show(&export_line(url)?);
    } else if json {
        let all: serde_json::Map<_, _> = reports.into_iter().map(|one| (one.stack, json!(one.outputs))).collect();
        show_document(&serde_json::Value::Object(all));
    } else {
        for one in reports {
            show(&one.stack);
            one.outputs.iter().for_each(|(key, value)| show(&format!("  {key:28} {}", one_line(value))));
        }
    }
    Ok(())
}

/// The shell command that gives MLflow's clients the address of the appliance.
///
/// SECURITY: people pass it to `eval`, and everyone who can change the stack can choose the URL. It has to be the URL of
/// a web server, and it is quoted, so that a shell reads a value and no command.
fn export_line(url: &str) -> Result<String, CommandError> {
    let parsed = Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "https" | "http"));
    let is_address = parsed.is_some_and(|parsed| parsed.has_host() && parsed.username().is_empty());
    if is_address && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(format!("export MLFLOW_TRACKING_URI={}", shell_word(url)));
    }
    let what = format!("the stack's output `Url` is `{}`, which is not the URL of a web server", url.escape_debug());
    Err(CommandError::of(
        ExitClass::Failed,
        &what,
        Some("look in CloudTrail who changed the stack, and restore it with `appliance deploy apply`"),
    ))
}
