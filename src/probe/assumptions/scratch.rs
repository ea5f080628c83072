//! The scratch experiment: one experiment with one run, below which everything is that a run of the tests writes.

use std::rc::Rc;

use actix_web::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use super::paths::ODD_TEXT;
use super::proof::NoProof;
use super::session::ProofSession;
use super::settings::AssumptionSettings;
use crate::aws::s3::Bucket;
use crate::clock;
use crate::http::client::Endpoint;

/// The tag by which the experiment is known.
pub(super) const TAG: &str = "appliance.assumptions";

/// The scratch experiment, and all that belongs to it. Each thing is noted before it is created, so that it can be removed if
/// the answer is lost.
#[derive(Default)]
pub(super) struct Scratch {
    /// True from the moment at which the experiment may exist.
    pub(super) has_begun: bool,
    pub(super) experiment: Option<String>,
    run: Option<String>,
    pub(super) artifact_uri: Option<String>,
    /// The reason why there is no run.
    why: String,
    pub(super) store: Option<Rc<ScratchStore>>,
    /// The keys of all objects that may exist.
    pub(super) keys: Vec<String>,
    /// The names of objects that were written for certain.
    pub(super) written: Vec<String>,
    /// Uploads in parts that are not complete: the key, and the id if it is known.
    pub(super) uploads: Vec<(String, Option<String>)>,
}

/// The place of the run's artifacts.
pub(super) struct ScratchStore {
    pub(super) bucket: Bucket,
    pub(super) bucket_name: String,
    pub(super) endpoint: Endpoint,
    /// The beginning of every key; it has the id of the run in it.
    pub(super) prefix: String,
    pub(super) kms_key: Option<String>,
}

impl Scratch {
    /// The id of the run.
    pub(super) fn run(&self) -> Result<String, NoProof> {
        self.run.clone().ok_or_else(|| NoProof::because(format!("there is no scratch run: {}", self.why)))
    }

    /// The place of artifacts.
    pub(super) fn store(&self) -> Result<Rc<ScratchStore>, NoProof> {
        self.run()?;
        let why = "the artifact location of the scratch run is not usable; see `artifact-location`";
        self.store.clone().ok_or_else(|| NoProof::because(why))
    }

    /// The key of a new object, which is noted as one to be removed.
    pub(super) fn new_key(&mut self, name: &str) -> Result<String, NoProof> {
        let key = format!("{}{name}", self.store()?.prefix);
        self.keys.push(key.clone());
        Ok(key)
    }
}

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
