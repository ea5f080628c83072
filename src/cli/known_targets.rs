//! `appliance targets`: the managed MLflows of an account in a region.

use serde_json::json;

use super::aws_connection::AwsArguments;
use super::columns::table;
use super::command_error::{CommandError, ExitClass};
use super::output::{say, show, show_document};
use super::{examples, probe_settings};
use crate::api::catalog::{self, CatalogError, ListedMlflow};
use crate::aws::regional_host;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;

/// List the MLflow tracking servers and apps of your AWS account in a region, with their ARNs
#[derive(Debug, clap::Args)]
#[command(after_help = examples::TARGETS)]
pub(super) struct TargetsCommand {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

impl TargetsCommand {
    /// Prints the list. If one of its two parts is missing, it says so and fails.
    pub(super) fn run(self) -> Result<(), CommandError> {
        actix_web::rt::System::new().block_on(self.act())
    }

    async fn act(self) -> Result<(), CommandError> {
        let region = self.aws.region().await?;
        let endpoint = probe_settings::service("SAGEMAKER")
            .unwrap_or_else(|| Endpoint::https(regional_host("api.sagemaker", &region)));
        let connection = self.aws.connect(&region, &endpoint).await?;
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for mode in [Mode::TrackingServer, Mode::App] {
            match catalog::list(mode, (&endpoint, &region), &connection.transport, &connection.credentials).await {
                Ok(list) => found.extend(list),
                Err(error) => failures.push(explained(&error)),
            }
        }
        if self.json {
            show_document(&found.iter().map(described).collect());
        } else if !found.is_empty() {
            show(&table(&rows(&found)));
        } else if failures.is_empty() {
            say(&format!(
                "this account has no MLflow tracking server and no MLflow app in {region}\nhint: choose another region with \
                 `--region`, or create one in SageMaker"
            ));
        }
        // The whole result is only known if both lists are.
        let last = failures.pop();
        // Without a network, both lists fail for the same reason.
        failures.iter().filter(|one| last.as_ref() != Some(*one)).for_each(CommandError::print);
        last.map_or(Ok(()), Err)
    }
}

fn kind(mode: Mode) -> &'static str {
    match mode {
        Mode::TrackingServer => "tracking server",
        Mode::App => "app",
    }
}

fn described(one: &ListedMlflow) -> serde_json::Value {
    let ListedMlflow { mode, name, arn, status, version } = one;
    json!({"name": name, "kind": kind(*mode), "status": status, "version": version, "resource_arn": arn})
}

fn rows(found: &[ListedMlflow]) -> Vec<[String; 5]> {
    let heading = ["NAME", "KIND", "STATUS", "VERSION", "ARN"].map(ToOwned::to_owned);
    let row = |one: &ListedMlflow| {
        [one.name.clone(), kind(one.mode).to_owned(), one.status.clone(), one.version.clone(), one.arn.clone()]
    };
    std::iter::once(heading).chain(found.iter().map(row)).collect()
}

fn explained(error: &CatalogError) -> CommandError {
    let hint = match error {
        CatalogError::Refused { code, action, .. } if code.starts_with("AccessDenied") => {
            format!("allow `{action}` on `*` in the policy of your identity")
        }
        CatalogError::Refused { code, .. } if code.contains("Expired") || code.contains("Token") => {
            "renew the credentials, with `aws sso login` for example".to_owned()
        }
        CatalogError::Refused { .. } => "check the region, and whether SageMaker offers MLflow there".to_owned(),
        CatalogError::Unanswered(_) => "check `--region`, and the network between here and AWS".to_owned(),
        CatalogError::Answer(_) => {
            "check AWS_ENDPOINT_URL_SAGEMAKER: the program that listens there does not behave like AWS".to_owned()
        }
    };
    CommandError::new(ExitClass::Failed, error, Some(&hint))
}
