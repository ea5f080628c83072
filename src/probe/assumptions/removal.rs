//! Removes what a run has created, and nothing else: by the ids and keys that it has noted.

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::json;

use super::answer::ProofAnswer;
use super::creation::{id, post};
use super::proof::NoProof;
use super::scratch::{Scratch, TAG};
use super::session::ProofSession;
use super::settings::{AssumptionRun, Leftover};
use crate::counted::counted;
use crate::http::uri::encoded;

/// Removes everything. What cannot be removed gets a command.
pub(super) async fn remove(session: &ProofSession<'_>, results: &mut AssumptionRun) {
    session.renew().await;
    objects(session, results).await;
    uploads(session, results).await;
    experiment(session, results).await;
}

/// Lists everything as left over, without trying to remove it.
pub(super) fn abandon(session: &ProofSession<'_>, results: &mut AssumptionRun) {
    let scratch = std::mem::take(&mut *session.scratch.borrow_mut());
    let why = || NoProof::because("the removal was interrupted");
    for key in &scratch.keys {
        results.left.push(left_object(&scratch, key, why()));
    }
    for upload in &scratch.uploads {
        results.left.push(left_upload(&scratch, upload, why()));
    }
    if scratch.has_begun {
        results.left.push(left_experiment(session, scratch.experiment.as_deref(), why()));
    }
}

async fn objects(session: &ProofSession<'_>, results: &mut AssumptionRun) {
    let remove = async |key: &String| remove_object(session, key).await;
    let left = |scratch: &Scratch, key: &String, why| left_object(scratch, key, why);
    each(session, results, "object", |scratch| &mut scratch.keys, remove, left).await;
}

async fn remove_object(session: &ProofSession<'_>, key: &str) -> Result<(), NoProof> {
    let store = session.scratch.borrow().store()?;
    let call = store.bucket.delete(&session.credentials(), key);
    succeeded(&session.s3(&store.endpoint, call, None).await?)
}

async fn uploads(session: &ProofSession<'_>, results: &mut AssumptionRun) {
    let remove = async |upload: &(String, Option<String>)| abort(session, upload).await;
    each(session, results, "incomplete upload", |scratch| &mut scratch.uploads, remove, left_upload).await;
}

/// Removes everything on a list, and notes the things that stay with the reason. Each leaves the list after its request, so that an
/// interruption finds the rest there.
async fn each<T: Clone + PartialEq>(
    session: &ProofSession<'_>,
    results: &mut AssumptionRun,
    what: &str,
    list: impl Fn(&mut Scratch) -> &mut Vec<T>,
    remove: impl AsyncFn(&T) -> Result<(), NoProof>,
    left: impl Fn(&Scratch, &T, NoProof) -> Leftover,
) {
    let mut count = 0;
    loop {
        let next = list(&mut session.scratch.borrow_mut()).first().cloned();
        let Some(thing) = next else { break };
        let removed = remove(&thing).await;
        let mut scratch = session.scratch.borrow_mut();
        match removed {
            Ok(()) => count += 1,
            Err(why) => results.left.push(left(&scratch, &thing, why)),
        }
        list(&mut scratch).retain(|other| *other != thing);
    }
    if count > 0 {
        results.removed.push(counted(count, what));
    }
}

async fn abort(session: &ProofSession<'_>, (key, upload): &(String, Option<String>)) -> Result<(), NoProof> {
    let store = session.scratch.borrow().store()?;
    let Some(upload) = upload else { return Err(NoProof::because("its id did not arrive")) };
    let call = store.bucket.abort_multipart(&session.credentials(), key, upload);
    succeeded(&session.s3(&store.endpoint, call, None).await?)
}

async fn experiment(session: &ProofSession<'_>, results: &mut AssumptionRun) {
    if !session.scratch.borrow().has_begun {
        return;
    }
    let known = session.scratch.borrow().experiment.clone();
    let found = match known {
        Some(experiment) => Ok(Some(experiment)),
        None => find(session).await,
    };
    let removed = match &found {
        Ok(Some(experiment)) => {
            post(session, "experiments/delete", json!({"experiment_id": experiment})).await.map(drop)
        }
        Ok(None) => Ok(()),
        Err(why) => Err(NoProof::because(format!("it cannot be found: {}", reason(why)))),
    };
    let experiment = found.ok().flatten();
    match (removed, &experiment) {
        (Ok(()), Some(experiment)) => {
            results.removed.push(format!("experiment {experiment} with its run, which MLflow keeps as deleted"));
        }
        (Ok(()), None) => {}
        (Err(why), experiment) => results.left.push(left_experiment(session, experiment.as_deref(), why)),
    }
    session.scratch.borrow_mut().has_begun = false;
}

fn reason(why: &NoProof) -> &str {
    match why {
        NoProof::Stopped => "the run was interrupted",
        NoProof::NoAnswer(why) | NoProof::Because(why) => why,
    }
}

/// Finds an experiment whose creation was not answered. It has to have our tag, so it is none of another person.
async fn find(session: &ProofSession<'_>) -> Result<Option<String>, NoProof> {
    let name = session.settings.experiment();
    let target = format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={}", encoded(&name));
    let answer = session.mlflow(Method::GET, &target, None::<Bytes>).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    succeeded(&answer)?;
    let experiment = &answer.json()["experiment"];
    let tags = experiment["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ours = tags.iter().any(|tag| tag["key"] == TAG);
    if is_ours { id(&experiment["experiment_id"]).map(Some) } else { Ok(None) }
}

fn succeeded(answer: &ProofAnswer) -> Result<(), NoProof> {
    if answer.status.is_success() { Ok(()) } else { Err(NoProof::because(answer.said())) }
}

fn left_object(scratch: &Scratch, key: &str, why: NoProof) -> Leftover {
    let bucket = scratch.store.as_ref().map(|store| store.bucket_name.clone()).unwrap_or_default();
    let command = ["aws", "s3api", "delete-object", "--bucket", &bucket, "--key", key];
    leftover(format!("object `{key}` in bucket `{bucket}`"), why, &command)
}

fn left_upload(scratch: &Scratch, (key, upload): &(String, Option<String>), why: NoProof) -> Leftover {
    let bucket = scratch.store.as_ref().map(|store| store.bucket_name.clone()).unwrap_or_default();
    let what = format!("incomplete upload of `{key}` in bucket `{bucket}`");
    match upload {
        Some(upload) => {
            let command =
                ["aws", "s3api", "abort-multipart-upload", "--bucket", &bucket, "--key", key, "--upload-id", upload];
            leftover(what, why, &command)
        }
        None => leftover(what, why, &["aws", "s3api", "list-multipart-uploads", "--bucket", &bucket, "--prefix", key]),
    }
}

fn left_experiment(session: &ProofSession<'_>, experiment: Option<&str>, why: NoProof) -> Leftover {
    let uri = format!("MLFLOW_TRACKING_URI={}", session.settings.target.arn().as_str());
    let name = session.settings.experiment();
    if let Some(experiment) = experiment {
        let command = ["env", &uri, "mlflow", "experiments", "delete", "--experiment-id", experiment];
        leftover(format!("experiment {experiment} (`{name}`)"), why, &command)
    } else {
        let command = ["env", &uri, "mlflow", "experiments", "search"];
        leftover(format!("experiment `{name}`, if it exists"), why, &command)
    }
}

fn leftover(what: String, why: NoProof, command: &[&str]) -> Leftover {
    Leftover { what, why: why.reason(), command: command.iter().map(|word| (*word).to_owned()).collect() }
}
