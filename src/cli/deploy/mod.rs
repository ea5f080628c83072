//! `appliance deploy`: the command line of the stacks.

mod common;
mod terminal;

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use url::Url;

use super::examples;
use super::failure::{Class, Failure};
use super::output::{one_line, say, shell_word, show, show_document};
use crate::api::cloudformation::Change;
use crate::deploy::{self, PlannedChange, StackKind, StackPlan};
use common::{Common, failure, with};
use terminal::Terminal;

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
                    show_document(&json!(outputs));
                } else if let Some(url) = outputs.get("Url") {
                    show(&export_line(url)?);
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
        StackKind::ALL.into_iter().try_for_each(|kind| {
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
        show_document(&json!({"estimate": true, "currency": "USD", "per": "month", "sum": sum, "items": items}));
        return Ok(());
    }
    for deploy::CostItem { what, dollars } in &items {
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

/// The line with which a shell tells MLflow's clients where the appliance is.
///
/// SECURITY: people hand it to `eval`, and whoever may change the stack decides what the URL is. It has to be the URL of
/// a web server, and it is quoted, so that a shell reads a value and no command.
fn export_line(url: &str) -> Result<String, Failure> {
    let parsed = Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "https" | "http"));
    let is_address = parsed.is_some_and(|parsed| parsed.has_host() && parsed.username().is_empty());
    if is_address && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(format!("export MLFLOW_TRACKING_URI={}", shell_word(url)));
    }
    let what = format!("the stack's output `Url` is `{}`, which is not the URL of a web server", url.escape_debug());
    Err(Failure::said(
        Class::Failed,
        &what,
        Some("find out in CloudTrail who changed the stack, and make it again: `appliance deploy apply`"),
    ))
}
