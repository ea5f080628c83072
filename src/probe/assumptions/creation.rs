//! Creates the scratch experiment and its run.

use actix_web::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use super::proof::NoProof;
use super::scratch::{ODD_TEXT, TAG};
use super::session::ProofSession;
use super::settings::AssumptionSettings;
use crate::clock;

/// The things that a run will create, for the operator's consent.
#[must_use]
pub fn plan(settings: &AssumptionSettings) -> Vec<String> {
    let mut plan = vec![
        format!("the experiment `{}` with one run, in `{}`", settings.experiment(), settings.target.arn().as_str()),
        "about 10 objects and 2 uploads in parts below the artifact location of that run, 3 MiB in all".to_owned(),
    ];
    if settings.may_open_page {
        plan.push("a presigned URL of AWS's page, which the test opens and thereby uses up".to_owned());
    }
    plan
}

/// Creates the experiment and its run. If that fails, the tests that need them say why.
pub(super) async fn create(session: &ProofSession<'_>) {
    let result = begin(session).await;
    if let Err(why) = result {
        session.scratch.borrow_mut().why = why.reason();
    }
}

async fn begin(session: &ProofSession<'_>) -> Result<(), NoProof> {
    if !session.settings.may_write {
        return Err(NoProof::because("`--read-only` allows no writing"));
    }
    session.readable()?;
    let name = session.settings.experiment();
    session.scratch.borrow_mut().has_begun = true;
    let tags = json!([{"key": TAG, "value": format!("{name} {ODD_TEXT}")}]);
    let created = post(session, "experiments/create", json!({"name": name, "tags": tags})).await?;
    let experiment = id(&created["experiment_id"])?;
    session.scratch.borrow_mut().experiment = Some(experiment.clone());
    let since_epoch = clock::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let start = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
    let tags = json!([{"key": TAG, "value": name}]);
    let created =
        post(session, "runs/create", json!({"experiment_id": experiment, "start_time": start, "tags": tags})).await?;
    let info = &created["run"]["info"];
    let run = id(&info["run_id"])?;
    let mut scratch = session.scratch.borrow_mut();
    scratch.artifact_uri = info["artifact_uri"].as_str().map(ToOwned::to_owned);
    scratch.run = Some(run);
    Ok(())
}

/// A request to MLflow that has to succeed.
pub(super) async fn post(session: &ProofSession<'_>, route: &str, body: Value) -> Result<Value, NoProof> {
    let target = format!("/api/2.0/mlflow/{route}");
    let answer = session.mlflow(Method::POST, &target, Some(Bytes::from(body.to_string()))).await?;
    if !answer.status.is_success() {
        return Err(NoProof::because(format!("MLflow answers `{route}` with {}", answer.said())));
    }
    Ok(answer.json())
}

/// An id in an answer. It becomes a part of keys and commands, so it may have no other characters.
pub(super) fn id(value: &Value) -> Result<String, NoProof> {
    let id = value.as_str().filter(|id| !id.is_empty() && id.len() <= 64);
    let id = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    id.map(ToOwned::to_owned).ok_or_else(|| NoProof::because("the answer has no id, so it is not MLflow's"))
}
